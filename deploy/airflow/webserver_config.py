"""Flask AppBuilder's configuration: users in Airflow's own database. LDAP and OIDC are configured here too."""

from flask_appbuilder.const import AUTH_DB

AUTH_TYPE = AUTH_DB
WTF_CSRF_ENABLED = True
# Rate limits of the login form are kept in this process's memory: one API server on one machine.
RATELIMIT_STORAGE_URI = "memory://"
