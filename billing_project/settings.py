"""Every setting of the project; the environment decides what differs between machines."""

import ipaddress
import sys
from pathlib import Path
from typing import Any

import environ
import pghistory
import structlog
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from billing_project.database.server import PrivateServer

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()

DEBUG: bool = env.bool("DEBUG", default=True)


def required_outside_debug(name: str, in_debug: str) -> str:
    """Return an environment variable, or what stands in for it while DEBUG is on."""
    value: str = env.str(name, default=in_debug if DEBUG else "")
    if not value and not DEBUG:
        message = f"DEBUG is off and {name} is not set: set it in the environment."
        raise ImproperlyConfigured(message)
    return value


SECRET_KEY = required_outside_debug("SECRET_KEY", "insecure-key-of-every-development-checkout")

# --- Applications -----------------------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "unfold.contrib.forms",
    "unfold.contrib.inlines",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "pgtrigger",
    "pghistory",
    "billing_project",
    "billers",
    "api",
    "events",
    "ledger",
    "customers",
    "accounts",
    "bills",
    "payments",
    "imports",
    "console",
]

MIDDLEWARE = [
    "api.middleware.RequestMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "api.middleware.SessionMiddleware",
    "api.middleware.CommonMiddleware",
    "api.middleware.CsrfViewMiddleware",
    "api.middleware.AuthenticationMiddleware",
    "api.middleware.MessageMiddleware",
    "api.middleware.XFrameOptionsMiddleware",
    "billing_project.content_security.ContentSecurityPolicyMiddleware",
]

# The checks look for two middlewares by name; ours are those, kept away from the API.
SILENCED_SYSTEM_CHECKS = ["security.W002", "security.W003"]

ROOT_URLCONF = "billing_project.urls"
WSGI_APPLICATION = "billing_project.wsgi.application"

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
            ],
        },
    },
]

# --- Database ---------------------------------------------------------------------------------------------------------

DATA_DIR = Path(env.str("BILLING_DATA_DIR", default=str(BASE_DIR / "var"))).resolve()
DATABASE_URL: str = env.str("DATABASE_URL", default="")


def database() -> dict[str, Any]:
    """Return the database that DATABASE_URL names, or the private one of this checkout."""
    if DATABASE_URL:
        try:
            if DATABASE_URL.startswith(("postgres://", "postgresql://")):
                return dict(env.db_url_config(DATABASE_URL))
        except ValueError:
            pass
        # Said without the URL itself, which holds a password.
        message = "DATABASE_URL must read postgres://user:password@host:port/name, with special characters %-encoded."
        raise ImproperlyConfigured(message)
    if not DEBUG and not env.bool("BILLING_EMBEDDED_DATABASE", default=False):
        message = (
            "DEBUG is off and DATABASE_URL is not set: set it, or BILLING_EMBEDDED_DATABASE=1 for the private one."
        )
        raise ImproperlyConfigured(message)
    socket_folder = PrivateServer.at(DATA_DIR).socket_folder
    return {"NAME": "billing", "USER": "billing", "HOST": str(socket_folder), "PRIVATE_SERVER": DATA_DIR}


named_database = database()
DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        **named_database,
        "ENGINE": "billing_project.database",
        "ATOMIC_REQUESTS": False,
        # Connections live as long as their thread; the engine's health check reads the socket and costs no statement.
        "CONN_MAX_AGE": env.int("CONN_MAX_AGE", default=None),
        "CONN_HEALTH_CHECKS": env.bool("CONN_HEALTH_CHECKS", default=True),
        # PgBouncer in transaction mode gives each transaction another session.
        "DISABLE_SERVER_SIDE_CURSORS": True,
        "OPTIONS": {
            "pool": False,
            "server_side_binding": True,
            # PgBouncer before 1.21 cannot follow prepared statements: PREPARE_THRESHOLD=-1 turns them off.
            "prepare_threshold": None if (uses := env.int("PREPARE_THRESHOLD", default=2)) < 0 else uses,
            "connect_timeout": env.int("DATABASE_CONNECT_TIMEOUT", default=5),
            **named_database.get("OPTIONS", {}),
        },
    },
}
# The audit trail is written once, and read by biller and row, so the copied keys need no index of their own.
PGHISTORY_APPEND_ONLY = True
PGHISTORY_FOREIGN_KEY_FIELD = pghistory.ForeignKey(db_index=False)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Language and time ------------------------------------------------------------------------------------------------

LANGUAGE_CODE = "en-gb"
FORMAT_MODULE_PATH = "console.formats"
USE_I18N = True
USE_TZ = True
TIME_ZONE = "UTC"

# --- Security ---------------------------------------------------------------------------------------------------------

ALLOWED_HOSTS: list[str] = env.list(
    "ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]", "testserver"] if DEBUG else []
)
CSRF_TRUSTED_ORIGINS: list[str] = env.list("CSRF_TRUSTED_ORIGINS", default=[])

PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = env.bool("SECURE_COOKIES", default=not DEBUG)
SESSION_COOKIE_HTTPONLY = True
SECURE_SSL_REDIRECT: bool = env.bool("SECURE_SSL_REDIRECT", default=not DEBUG)
# A load balancer asks over plain HTTP, and takes a redirect for ill health.
SECURE_REDIRECT_EXEMPT = [r"^health/"]
SECURE_HSTS_SECONDS: int = env.int("SECURE_HSTS_SECONDS", default=0 if DEBUG else 365 * 24 * 3600)
SECURE_HSTS_INCLUDE_SUBDOMAINS: bool = env.bool("SECURE_HSTS_INCLUDE_SUBDOMAINS", default=not DEBUG)
SECURE_HSTS_PRELOAD: bool = env.bool("SECURE_HSTS_PRELOAD", default=not DEBUG)
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if env.bool("BEHIND_HTTPS_PROXY", default=False) else None
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    },
}

# --- Static files -----------------------------------------------------------------------------------------------------

STATIC_URL = "static/"
# While DEBUG is on, files are served from where they are and never collected.
STATIC_ROOT = None if DEBUG else env.str("STATIC_ROOT", default=str(DATA_DIR / "static"))
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage",
    },
}
WHITENOISE_USE_FINDERS = DEBUG
# Autorefresh would look for a file on every request, those of the API included.
WHITENOISE_AUTOREFRESH = False

# --- The API ----------------------------------------------------------------------------------------------------------

API_KEY_CACHE_SECONDS: int = env.int("API_KEY_CACHE_SECONDS", default=5)
LOCK_WAIT_SECONDS: int = env.int("LOCK_WAIT_SECONDS", default=5)
EXPORT_TIMEOUT_SECONDS: int = env.int("EXPORT_TIMEOUT_SECONDS", default=3600)
IDEMPOTENCY_KEEP_HOURS: int = env.int("IDEMPOTENCY_KEEP_HOURS", default=24)
API_MAX_BODY_BYTES: int = env.int("API_MAX_BODY_BYTES", default=1024 * 1024)

REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["api.authentication.ApiKeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["api.authentication.KeyAllows"],
    "DEFAULT_PARSER_CLASSES": ["api.parsing.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "api.negotiation.JsonAnyway",
    "DEFAULT_SCHEMA_CLASS": "api.schema.Schema",
    "EXCEPTION_HANDLER": "api.problems.answer_problem",
    "UNAUTHENTICATED_USER": None,
    # Nothing of a URL chooses a representation or another method.
    "URL_FORMAT_OVERRIDE": None,
}
SPECTACULAR_SETTINGS: dict[str, Any] = {
    "OAS_VERSION": "3.1.1",
    "TITLE": "Billing API",
    "DESCRIPTION": (
        "Customers, their accounts and bills, and the ledger under each amount. Amounts are integers in the currency's "
        "minor unit: ZAR 20.00 is `2000`. Refusals are problems (RFC 9457) with a stable `code`; the address in `type` "
        "explains it."
    ),
    "VERSION": "0.1.0",
    "TAGS": [
        {"name": "customers", "description": "Whom a biller bills."},
        {"name": "accounts", "description": "What customers hold with the biller: a meter, a policy, a loan."},
        {"name": "bills", "description": "Money asked, of a customer or of one of its accounts."},
        {"name": "entries", "description": "The ledger: every change of every amount."},
        {"name": "events", "description": "What happened, in order, for whoever would rather ask than be told."},
        {"name": "webhook_endpoints", "description": "Where events are delivered to, by Standard Webhooks."},
        {"name": "deliveries", "description": "What was delivered, and what is still being tried."},
        {"name": "imports", "description": "Files that are sent to be imported, and every import there was."},
        {"name": "health", "description": "For load balancers; no key needed."},
    ],
    "POSTPROCESSING_HOOKS": ["api.schema.add_health", "events.schema.add_webhooks"],
}

# --- Webhooks ---------------------------------------------------------------------------------------------------------


def networks(name: str) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """Return the networks that an environment variable lists as CIDRs."""
    try:
        return [ipaddress.ip_network(written.strip()) for written in env.list(name, default=[])]
    except ValueError as refusal:
        message = f"{name} must list networks such as 10.1.0.0/16,fd00::/8: {refusal}."
        raise ImproperlyConfigured(message) from None


WEBHOOK_ALLOWED_NETWORKS = networks("WEBHOOK_ALLOWED_NETWORKS")
WEBHOOK_TIMEOUT_SECONDS: float = env.float("WEBHOOK_TIMEOUT_SECONDS", default=15)
WEBHOOK_THREADS: int = env.int("WEBHOOK_THREADS", default=8)
WEBHOOK_CA_FILE: str = env.str("WEBHOOK_CA_FILE", default="")

# --- Imports ----------------------------------------------------------------------------------------------------------

IMPORT_MAX_BYTES: int = env.int("IMPORT_MAX_BYTES", default=1024 * 1024 * 1024)
IMPORT_KEEP_DAYS: int = env.int("IMPORT_KEEP_DAYS", default=30)
IMPORT_LEASE_SECONDS: float = env.float("IMPORT_LEASE_SECONDS", default=15)

# --- The console ------------------------------------------------------------------------------------------------------

UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Billing",
    "SITE_HEADER": "Billing",
    "SITE_SUBHEADER": "Console",
    "SITE_SYMBOL": "receipt_long",
    "SITE_URL": None,
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": "console.navigation.icon"}],
    "SHOW_VIEW_ON_SITE": False,
    "SIDEBAR": {"navigation": "console.navigation.sidebar"},
    "BORDER_RADIUS": "6px",
    "COLORS": {
        "primary": {
            "50": "oklch(97% .014 254.604)",
            "100": "oklch(93.2% .032 255.585)",
            "200": "oklch(88.2% .059 254.128)",
            "300": "oklch(80.9% .105 251.813)",
            "400": "oklch(70.7% .165 254.624)",
            "500": "oklch(62.3% .214 259.815)",
            "600": "oklch(54.6% .245 262.881)",
            "700": "oklch(48.8% .243 264.376)",
            "800": "oklch(42.4% .199 265.638)",
            "900": "oklch(37.9% .146 265.522)",
            "950": "oklch(28.2% .091 267.935)",
        },
    },
}

# --- Logs -------------------------------------------------------------------------------------------------------------

LOG_LEVEL: str = env.str("LOG_LEVEL", default="INFO")
LOG_STEPS: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]
structlog.configure(
    processors=[
        structlog.stdlib.filter_by_level,
        *LOG_STEPS,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ],
    logger_factory=structlog.stdlib.LoggerFactory(),
    cache_logger_on_first_use=True,
)
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "structured": {
            "()": structlog.stdlib.ProcessorFormatter,
            "foreign_pre_chain": LOG_STEPS,
            "processors": [
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *(
                    [
                        structlog.dev.ConsoleRenderer(
                            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
                        )
                    ]
                    if DEBUG
                    else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
                ),
            ],
        },
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "structured"}},
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    "loggers": {"django": {"level": LOG_LEVEL}, "django.server": {"handlers": [], "propagate": True}},
}
