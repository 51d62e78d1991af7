"""The commands of ``learnloop``, one file a group; each is thin over ``learnloop.client``."""
