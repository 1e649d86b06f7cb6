"""The refusals of Cloudflare's API, by name.

Some codes and texts were never published or recorded. Those are made up here, and `assumed=True` says so: the answer
then carries a message for people, and the portal must not key a decision on such a code.
"""

from __future__ import annotations


class ApiError(Exception):
    """One refusal. `pointer` is a JSON pointer into the request body, as the Rulesets API gives."""

    def __init__(
        self, status: int, code: int, message: str, *, pointer: str | None = None, assumed: bool = False
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.pointer = pointer
        self.assumed = assumed


def authentication_failed(status: int = 403) -> ApiError:
    return ApiError(status, 10000, "Authentication error")


def token_not_yet_known() -> ApiError:
    return ApiError(403, 10000, "Unable to authenticate request")


def invalid_token() -> ApiError:
    return ApiError(401, 1000, "Invalid API Token")


def bad_headers() -> ApiError:
    return ApiError(400, 6003, "Invalid request headers", assumed=True)


def no_route(path: str) -> ApiError:
    return ApiError(404, 7003, f"Could not route to /client/v4{path}, perhaps your object identifier is invalid?")


def method_not_allowed(method: str) -> ApiError:
    return ApiError(405, 7001, f"Method {method} not available for that URI.")


def server_fault() -> ApiError:
    """The sandbox itself went wrong; its output has the traceback."""
    return ApiError(500, 10009, "Internal server error", assumed=True)


def too_many_requests(code: int = 971) -> ApiError:
    """The texts that were seen with each code."""
    texts = {
        971: "Please wait and consider throttling your request speed",
        10100: "More than 1200 requests per 300 seconds reached. Please wait and consider throttling your requests",
    }
    return ApiError(429, code, texts.get(code, "Too many requests"))


def bad_json() -> ApiError:
    return ApiError(400, 6007, "Malformed JSON in request body", assumed=True)


def bad_value(message: str, *, pointer: str | None = None) -> ApiError:
    """A field of the body or query is missing or of the wrong kind. The code is an assumption."""
    return ApiError(400, 1400, message, pointer=pointer, assumed=True)


def certificate_unreadable(code: int = 1470) -> ApiError:
    return ApiError(400, code, "Unable to parse certificate", assumed=True)


def certificate_exists() -> ApiError:
    return ApiError(400, 1471, "This certificate already exists")


def certificate_unknown() -> ApiError:
    return ApiError(404, 1472, "Certificate not found")


def certificate_deleted() -> ApiError:
    """The text was seen; the code was not recorded."""
    return ApiError(400, 1415, "This certificate is already deleted", assumed=True)


def certificate_invalid() -> ApiError:
    """As sibling APIs say it for an id that is not valid."""
    return ApiError(400, 1415, "Certificate id is invalid or deleted", assumed=True)


def certificate_expired(code: int = 0) -> ApiError:
    return ApiError(400, code or 1477, "Certificate has expired", assumed=True)


def certificate_in_use(status: int = 400, code: int = 1473) -> ApiError:
    return ApiError(status, code, "Certificate is in use by one or more services", assumed=True)


def certificate_not_a_ca(code: int = 0) -> ApiError:
    return ApiError(400, code or 1474, "Certificate is not a CA: Basic Constraints must be CA:TRUE", assumed=True)


def signature_not_supported(name: str, code: int = 0) -> ApiError:
    return ApiError(400, code or 1475, f"Unsupported signature algorithm: {name}", assumed=True)


def no_free_slot() -> ApiError:
    return ApiError(400, 1489, "Hit maximum CA cert allocation.")


def hostname_refused(hostname: str, why: str, position: int) -> ApiError:
    return ApiError(400, 1476, f"{hostname}: {why}", pointer=f"/hostnames/{position}", assumed=True)


def not_entitled() -> ApiError:
    return ApiError(403, 9109, "Unauthorized to access requested resource")


def no_entry_point(phase: str) -> ApiError:
    return ApiError(404, 10003, f"could not find entrypoint ruleset in the {phase} phase")


def ruleset_unknown(ruleset_id: str) -> ApiError:
    return ApiError(404, 10001, f"could not find ruleset {ruleset_id}", assumed=True)


def rule_unknown(rule_id: str) -> ApiError:
    return ApiError(404, 10002, f"could not find rule {rule_id}", assumed=True)


def second_entry_point(phase: str) -> ApiError:
    return ApiError(
        400,
        20217,
        f"'zone' is not a valid value for kind because exceeded maximum number of zone rulesets for phase {phase}",
        pointer="/kind",
    )


def bad_rule_field(value: object, field: str, why: str, pointer: str) -> ApiError:
    return ApiError(
        400,
        20120,
        f"'{value}' is not a valid value for {field} because {why}",
        pointer=f"{pointer}/{field}",
        assumed=True,
    )


def blank_expression(pointer: str) -> ApiError:
    return ApiError(
        400,
        20125,
        "'' is not a valid value for expression because the expression cannot be blank",
        pointer=f"{pointer}/expression",
    )


def bad_expression(expression: str, why: str, pointer: str) -> ApiError:
    return ApiError(
        400,
        20127,
        f"'{expression}' is not a valid value for expression because {why}",
        pointer=f"{pointer}/expression",
        assumed=True,
    )


def too_many_rules(phase: str, wanted: int, allowed: int) -> ApiError:
    return ApiError(400, 50001, f"exceeded the maximum number of rules in the phase {phase}: {wanted} out of {allowed}")
