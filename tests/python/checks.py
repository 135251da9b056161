"""Checks that schemathesis doesn't bring along."""

import schemathesis


@schemathesis.check
def unavailable_is_only_the_future(ctx, response, case):
    """A 503 is for those who ask for a position that isn't reached, and for nobody else."""
    position = (case.headers or {}).get("X-Min-Position")
    assert response.status_code != 503 or position is not None, "503 for a request that waits for nothing"


@schemathesis.check
def every_failure_is_the_standard_error(ctx, response, case):
    """Whatever is wrong, clients get the one shape of an error, which says its own status."""
    if response.status_code < 400:
        return
    error = response.json()
    assert set(error) == {"success", "error", "errorCode", "statusCode"}, f"not the standard error: {error}"
    assert error["success"] is False and error["error"] and error["errorCode"], f"not the standard error: {error}"
    assert error["statusCode"] == response.status_code, f"says {error['statusCode']}"
