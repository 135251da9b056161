//! `given([..]).when(..).then([..])`: tests of rules that read as sentences.

use std::fmt::Debug;

use crate::Decider;

/// The history that a test starts from.
pub(crate) struct Given<D: Decider> {
    state: D,
}

/// Result of a command.
pub(crate) struct When<D: Decider> {
    outcome: Result<Vec<D::Event>, D::Error>,
}

/// Begins with what has happened so far.
pub(crate) fn given<D: Decider>(history: impl IntoIterator<Item = D::Event>) -> Given<D> {
    let history: Vec<_> = history.into_iter().collect();
    Given { state: D::replay(&history) }
}

impl<D: Decider> Given<D> {
    /// Asks for something.
    pub(crate) fn when(self, command: D::Command) -> When<D> {
        When { outcome: self.state.decide(command) }
    }
}

impl<D: Decider> When<D> {
    /// Expects exactly these facts.
    #[track_caller]
    pub(crate) fn then(self, expected: impl IntoIterator<Item = D::Event>) {
        assert_eq!(self.outcome.expect("the rules should have agreed"), expected.into_iter().collect::<Vec<_>>());
    }

    /// Expects that there is nothing left to do.
    #[track_caller]
    pub(crate) fn then_nothing(self) {
        self.then([]);
    }

    /// Expects that this rule stands against it.
    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "it reads better")]
    pub(crate) fn then_err(self, expected: D::Error)
    where
        D::Error: Debug + PartialEq,
    {
        assert_eq!(self.outcome.expect_err("a rule should have stood against it"), expected);
    }
}
