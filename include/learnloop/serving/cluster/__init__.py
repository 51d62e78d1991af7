"""Model versions as Deployments and Services of Kubernetes (docs/kubernetes.md): a cluster is made to be as rows say."""
