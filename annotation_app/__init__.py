"""The annotation page: a Streamlit app that talks to the HTTP API only, through ``learnloop.client``."""
