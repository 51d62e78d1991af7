"""What live requests to models leave for the loop."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperator, Context


class ReadLiveRequestsOperator(BaseOperator):
    """Read what pods that serve models noted of live requests: counts for drift, and samples the models were not sure of.

    Servers that read the database write it down themselves. A pod that could not be read is read the next time.

    :return: ``{rows, samples, failed}``: how many were read; which pods were not, and why.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        from learnloop.serving.cluster.connected import read_live_requests
        from learnloop.settings import settings
        from learnloop_airflow.common import cluster_client

        client = cluster_client() if settings().serving_runner == "kubernetes" else None
        found = read_live_requests(client, self.log.warning)
        self.log.info("read of pods: %(rows)d rows and %(samples)d samples of live requests", found)
        return found
