"""FAB writes the name of each failed login to the server's log. People type passwords where names belong: it is left out."""

from __future__ import annotations

import logging

_LOGGERS = ("airflow.providers.fab.auth_manager.security_manager.override", "flask_appbuilder.security.manager")
_FAILED = "Login Failed for user"  # how `flask_appbuilder.const.LOGMSG_WAR_SEC_LOGIN_FAILED` begins


class _WithoutName(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        if str(record.msg).startswith(_FAILED):
            record.msg, record.args = f"{_FAILED} (the name is in the audit log, if it is a known one)", ()
        return True


_FILTER = _WithoutName()


def keep_names_out() -> None:
    """From here on, in this process. Again does no harm."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_FILTER)
