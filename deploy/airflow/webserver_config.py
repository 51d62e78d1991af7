"""Flask AppBuilder's configuration: users in Airflow's own database. LDAP and OIDC are configured here too."""

from flask_appbuilder.const import AUTH_DB

AUTH_TYPE = AUTH_DB
WTF_CSRF_ENABLED = True
# Rate limits of the login form are kept in each process's memory: two API servers (Compose) let through twice as many.
# nginx's limit by address counts for both, and so does our own of failed logins, which is in the database.
RATELIMIT_STORAGE_URI = "memory://"
