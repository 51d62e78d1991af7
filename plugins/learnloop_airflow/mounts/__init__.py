"""Where mounts are made: claims of a cluster, and folders."""
