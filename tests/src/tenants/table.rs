//! What each operation answers, by who asks.

/// What an operation answers, by who asks, about something of Acme. `None`: it is of the other API.
pub(super) struct Row {
    pub(super) operation: &'static str,
    pub(super) super_admin: Option<u16>,
    pub(super) system_auditor: Option<u16>,
    pub(super) admin: Option<u16>,
    pub(super) auditor: Option<u16>,
    pub(super) foreign_admin: Option<u16>,
    pub(super) foreign_auditor: Option<u16>,
    pub(super) user: Option<u16>,
    pub(super) colleague: Option<u16>,
    pub(super) colleague_admin: Option<u16>,
    pub(super) colleague_auditor: Option<u16>,
    pub(super) foreigner: Option<u16>,
}

/// An operation of the admin API: super admin, system auditor, then admin and auditor of Acme, then an admin of Globex.
///
/// An auditor of Globex gets what its admin does.
pub(super) const fn admin(
    operation: &'static str,
    [super_admin, system_auditor, admin, auditor, foreign_admin]: [u16; 5],
) -> Row {
    Row {
        operation,
        super_admin: Some(super_admin),
        system_auditor: Some(system_auditor),
        admin: Some(admin),
        auditor: Some(auditor),
        foreign_admin: Some(foreign_admin),
        foreign_auditor: Some(foreign_admin),
        user: None,
        colleague: None,
        colleague_admin: None,
        colleague_auditor: None,
        foreigner: None,
    }
}

/// An operation of the messenger: a user of Acme whom the thing concerns, then their colleagues whom it doesn't, whatever their role,
/// then whoever is of another business, whatever their role.
pub(super) const fn messenger(operation: &'static str, [user, colleague, foreigner]: [u16; 3]) -> Row {
    Row {
        operation,
        super_admin: None,
        system_auditor: None,
        admin: None,
        auditor: None,
        foreign_admin: None,
        foreign_auditor: None,
        user: Some(user),
        colleague: Some(colleague),
        colleague_admin: Some(colleague),
        colleague_auditor: Some(colleague),
        foreigner: Some(foreigner),
    }
}

pub(super) const TABLE: [Row; 54] = [
    admin("registerBusiness", [201, 403, 403, 403, 403]),
    admin("listBusinesses", [200, 200, 200, 200, 200]),
    admin("getBusiness", [200, 200, 200, 200, 404]),
    admin("renameBusiness", [200, 403, 403, 403, 403]),
    admin("suspendBusiness", [200, 403, 403, 403, 403]),
    admin("reactivateBusiness", [200, 403, 403, 403, 403]),
    // Who creates nobody is told so before it is looked where.
    Row { foreign_auditor: Some(403), ..admin("createUser", [201, 403, 201, 403, 404]) },
    admin("listUsers", [200, 200, 200, 200, 404]),
    admin("getUser", [200, 200, 200, 200, 404]),
    admin("suspendUser", [200, 403, 200, 403, 404]),
    admin("reactivateUser", [200, 403, 200, 403, 404]),
    admin("changeUser", [200, 403, 200, 403, 404]),
    admin("resetPassword", [200, 403, 200, 403, 404]),
    admin("listUserSessions", [200, 403, 200, 403, 404]),
    admin("endUserSession", [200, 403, 200, 403, 404]),
    admin("endUserSessions", [200, 403, 200, 403, 404]),
    admin("listProjections", [200, 200, 403, 403, 403]),
    admin("rebuildProjection", [202, 403, 403, 403, 403]),
    admin("listParkedEvents", [200, 200, 403, 403, 403]),
    admin("retryParkedEvents", [200, 403, 403, 403, 403]),
    admin("dropRetiredTables", [200, 403, 403, 403, 403]),
    admin("auditEvents", [200, 200, 200, 200, 404]),
    admin("auditStream", [200, 200, 200, 200, 404]),
    admin("auditState", [200, 200, 200, 200, 404]),
    admin("auditCorrelation", [200, 200, 200, 200, 404]),
    admin("auditCatalogue", [200, 200, 200, 200, 200]),
    messenger("sendMessage", [201, 201, 404]),
    messenger("getMessage", [200, 404, 404]),
    messenger("editMessage", [200, 404, 404]),
    messenger("listConversations", [200, 200, 200]),
    messenger("listMessages", [200, 404, 404]),
    messenger("uploadFile", [201, 201, 201]),
    messenger("getFile", [200, 404, 404]),
    // Administrators may, but say why; auditors see it, elsewhere.
    Row { colleague_admin: Some(422), colleague_auditor: Some(403), ..messenger("deleteMessage", [200, 404, 404]) },
    admin("adminDeleteMessage", [200, 403, 200, 403, 404]),
    messenger("getMe", [200, 200, 200]),
    messenger("changeMe", [200, 200, 200]),
    messenger("listSessions", [200, 200, 200]),
    messenger("endSession", [200, 404, 404]),
    messenger("readConversation", [200, 404, 404]),
    messenger("listCalls", [200, 200, 200]),
    messenger("getCall", [200, 404, 404]),
    messenger("startCall", [201, 201, 404]),
    // The user of Acme has called, and so is not the one to answer.
    messenger("acceptCall", [403, 404, 404]),
    messenger("rejectCall", [403, 404, 404]),
    messenger("endCall", [200, 404, 404]),
    messenger("eventsSince", [200, 200, 200]),
    messenger("issueTicket", [201, 201, 201]),
    messenger("listColleagues", [200, 200, 200]),
    messenger("listIceServers", [200, 200, 200]),
    // Nobody's password is what it is said to be.
    messenger("changePassword", [422, 422, 422]),
    admin("adminChangePassword", [422, 422, 422, 422, 422]),
    messenger("messengerLogout", [200, 200, 200]),
    admin("adminLogout", [200, 200, 200, 200, 200]),
];

/// Operations that anybody may call.
pub(super) const OPEN: [&str; 4] = ["adminLogin", "adminRefresh", "messengerLogin", "messengerRefresh"];
