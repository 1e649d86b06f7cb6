"""Wiring of the portal. Two modes, one code path: see `env.py` and docs/architecture.md."""

from __future__ import annotations

from apps.coverage.states import RequestState
from byoca_portal import env as environment
from byoca_portal.env import BASE_DIR, env
from byoca_portal.logs import LOGGING as LOGGING
from byoca_portal.logs import configure_structlog

MODE = environment.mode()
DEPLOYED = MODE == "deployed"
DATA_DIR = environment.data_dir()

DEBUG = False
SECRET_KEY = environment.secret("BYOCA_SECRET_KEY", make="token")
SECRET_KEY_FALLBACKS = env.list("BYOCA_SECRET_KEY_FALLBACKS", default=[])
# `key-id:base64(32 bytes)`, newest first; older ones still decrypt. Never stored beside the data they protect.
BYOCA_ENCRYPTION_KEYS = environment.secret("BYOCA_ENCRYPTION_KEYS", make="key").split(",")
ALLOWED_HOSTS = env.list("BYOCA_ALLOWED_HOSTS", default=[] if DEPLOYED else ["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("BYOCA_TRUSTED_ORIGINS", default=[])

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django_htmx",
    "lucide",
    "rest_framework",
    "drf_spectacular",
    "django_filters",
    "allauth",
    "allauth.account",
    "allauth.socialaccount",
    "allauth.mfa",
    "axes",
    "csp",
    "django_structlog",
    "apps.audit",
    "apps.outbox",
    "apps.identity",
    "apps.inventory",
    "apps.authorities",
    "apps.coverage",
    "apps.notify",
    "apps.probing",
    "apps.reconcile",
    "apps.web",
    "apps.api",
    "apps.sandbox",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "django_structlog.middlewares.RequestMiddleware",
    "apps.web.middleware.SignInRequiredMiddleware",
    "apps.web.middleware.PrivateKeyMiddleware",
    "apps.web.middleware.NoStoreMiddleware",
    "apps.web.errors.PortalErrorMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "byoca_portal.urls"
WSGI_APPLICATION = "byoca_portal.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "apps.web.context.shell",
            ],
        },
    }
]

DATABASES = {"default": environment.database(DATA_DIR)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Sign-in. Local accounts with allauth; nobody signs up by themselves.
AUTH_USER_MODEL = "identity.Person"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
ACCOUNT_ADAPTER = "apps.identity.adapters.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_LOGOUT_ON_GET = False
ACCOUNT_SESSION_REMEMBER = False
ACCOUNT_PREVENT_ENUMERATION = True
# django-axes holds the brakes, in the database, so that every worker counts the same attempts.
ACCOUNT_RATE_LIMITS = False
AXES_FAILURE_LIMIT = 8
AXES_COOLOFF_TIME = 0.25  # hours
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_LOCKOUT_TEMPLATE = "account/locked.html"
AXES_SENSITIVE_PARAMETERS = ["username", "ip_address"]
AXES_VERBOSE = False
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

# Cookies and headers.
PREFIX = "__Host-" if DEPLOYED else "byoca_"
SESSION_COOKIE_NAME = f"{PREFIX}session"
SESSION_COOKIE_SECURE = DEPLOYED
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 12 * 60 * 60
SESSION_EXPIRE_AT_BROWSER_CLOSE = True
CSRF_COOKIE_NAME = f"{PREFIX}csrf"
CSRF_COOKIE_SECURE = DEPLOYED
CSRF_COOKIE_HTTPONLY = True
CSRF_COOKIE_SAMESITE = "Lax"
CSRF_FAILURE_VIEW = "apps.web.errors.csrf_failure"
X_FRAME_OPTIONS = "DENY"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
SECURE_SSL_REDIRECT = DEPLOYED
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]
SECURE_HSTS_SECONDS = 365 * 24 * 60 * 60 if DEPLOYED else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = DEPLOYED
SECURE_HSTS_PRELOAD = DEPLOYED
if DEPLOYED and env.bool("BYOCA_BEHIND_TLS_PROXY", default=False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "object-src": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
}
DATA_UPLOAD_MAX_MEMORY_SIZE = 256 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 200
DATA_UPLOAD_MAX_NUMBER_FILES = 1
FILE_UPLOAD_HANDLERS = ["apps.web.uploads.BoundedUploadHandler"]

STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "static" if not DEPLOYED else BASE_DIR / "staticfiles"
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = not DEPLOYED
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"
        if DEPLOYED
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}

LANGUAGE_CODE = "en"
USE_I18N = False
USE_TZ = True
TIME_ZONE = "UTC"

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["apps.api.authentication.BearerAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_FILTER_BACKENDS": [],
    "DEFAULT_PAGINATION_CLASS": "apps.api.pagination.Pages",
    "EXCEPTION_HANDLER": "apps.api.errors.handle",
    "UNAUTHENTICATED_USER": None,
    "PAGE_SIZE": 100,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "BYOCA Portal API",
    "DESCRIPTION": "The portal's job for programs: the same services, rules and words as the pages.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "COMPONENT_SPLIT_REQUEST": True,
    # Choices of several serializers under one field name: without a name here, one is made of a hash.
    "ENUM_NAME_OVERRIDES": {
        "ChangeStateEnum": "apps.reconcile.models.Plan.State",
        "ModeEnum": "apps.coverage.models.ModeChoice",
        "RequestKindEnum": "apps.coverage.models.Kind",
        "RequestStateEnum": [state.value for state in RequestState],
    },
}

# The edge.
CLOUDFLARE_API_BASE_URL = env.str("CLOUDFLARE_API_BASE_URL", default="https://api.cloudflare.com/client/v4")
BYOCA_EDGE_DEADLINE_S = env.float("BYOCA_EDGE_DEADLINE_S", default=30.0)
BYOCA_PREVIEW_DEADLINE_S = env.float("BYOCA_PREVIEW_DEADLINE_S", default=6.0)
# Every zone and account is read once per interval; the answer turns Unknown after 15 minutes without a read.
BYOCA_SWEEP_INTERVAL_S = env.float("BYOCA_SWEEP_INTERVAL_S", default=15.0 if not DEPLOYED else 120.0)
# Cloudflare's published limit, in calls per user and five minutes. Each account uses a share of it, 50 % by default.
BYOCA_CALL_LIMIT = env.int("BYOCA_CALL_LIMIT", default=1200)
# So many calls of an account in a row without an answer open its circuit breaker (apps/inventory/budget/breaker.py).
BYOCA_BREAKER_FAULTS = env.int("BYOCA_BREAKER_FAULTS", default=5)
BYOCA_BUDGET_REDIS_URL = environment.redis_url(DATA_DIR)
# Without a tick for this long the workers or the scheduler have died or hang: /readyz says so.
BYOCA_STALE_AFTER_S = env.float("BYOCA_STALE_AFTER_S", default=60.0)
# Longer than one call to Cloudflare, renewed by each: what a worker on a lost host holds is free after this.
BYOCA_LEASE_S = env.float("BYOCA_LEASE_S", default=BYOCA_EDGE_DEADLINE_S * 1.5)

# Probes: docs/probing.md. The test port is used inside ranges that an administrator allowed, and nowhere else.
BYOCA_PROBE_INTERVAL_S = env.float("BYOCA_PROBE_INTERVAL_S", default=900.0)
BYOCA_PROBE_DEADLINE_S = env.float("BYOCA_PROBE_DEADLINE_S", default=10.0)
BYOCA_PROBE_SETTLE_S = env.float("BYOCA_PROBE_SETTLE_S", default=120.0)
BYOCA_PROBE_RATE_PER_MIN = env.int("BYOCA_PROBE_RATE_PER_MIN", default=60)
BYOCA_PROBE_AT_ONCE = env.int("BYOCA_PROBE_AT_ONCE", default=1)
BYOCA_PROBE_OWN_RANGES = environment.ranges("BYOCA_PROBE_OWN_RANGES")
BYOCA_PROBE_TEST_PORT = env.int("BYOCA_PROBE_TEST_PORT", default=0)

# Notices: docs/notifications.md. Without a mail server no mail is sent; embedded, mails are files in the data folder.
globals().update(environment.mail(DATA_DIR))
BYOCA_PUBLIC_URL = environment.public_url(ALLOWED_HOSTS, CSRF_TRUSTED_ORIGINS)
BYOCA_NOTICES_AT_ONCE = env.int("BYOCA_NOTICES_AT_ONCE", default=1)
BYOCA_NOTICE_RETRY_S = env.float("BYOCA_NOTICE_RETRY_S", default=30.0)
BYOCA_WEBHOOK_DEADLINE_S = env.float("BYOCA_WEBHOOK_DEADLINE_S", default=10.0)
BYOCA_WEBHOOK_RANGES = environment.ranges("BYOCA_WEBHOOK_RANGES")

STRUCTLOG = configure_structlog()
DJANGO_STRUCTLOG_CELERY_ENABLED = False
