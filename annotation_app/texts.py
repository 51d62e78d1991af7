"""What the page says. A second language is a second dictionary with the same keys and the same placeholders."""

from __future__ import annotations

LANGUAGE = "en"

TEXTS: dict[str, dict[str, str]] = {
    "en": {
        "title": "Learnloop",
        "page": "Annotate",
        # Logging in and out
        "login.heading": "Log in to annotate",
        "login.user": "User name",
        "login.password": "Password",
        "login.submit": "Log in",
        "login.airflow": "Log in through Airflow instead",
        "login.airflow_why": "and stay logged in when you reload the page.",
        "login.incomplete": "Type your user name and your password.",
        "login.ended": "Your session has ended. Please log in again; answers that were not sent are kept.",
        "login.logged_out": "You are logged out.",
        "login.wrong": "The user name or the password is wrong.",
        "logout": "Log out",
        "forbidden.heading": "Annotating is not part of your role",
        "forbidden.body": "You are logged in as {user} (roles: {roles}), which may look but not answer. "
        "Ask an administrator for the annotator role.",
        "forbidden.no_roles": "none",
        # Datasets
        "dataset": "Dataset",
        "dataset.none_heading": "No dataset yet",
        "dataset.none": "Once a dataset is put in and its first model has scored new data, tasks appear here.",
        # The task
        "task.question": "Which label is right?",
        "task.alt": "Sample {sample} of dataset {dataset}, to be labelled",
        "task.size": "{width} × {height} px",
        "task.unshowable": "This sample ({content_type}) cannot be shown. Skip it as damaged, "
        "so that somebody looks into it.",
        "task.broken": "This sample cannot be shown. Skip it as damaged, so that somebody looks into it.",
        "task.length": "{count} characters",
        "task.fields": "{count} fields",
        "task.not_all_text": "Some bytes of this text are not UTF-8 and could not be read: they are shown as �.",
        "look.heading": "How to look at the picture",
        "look.zoom_in": "Zoom in",
        "look.zoom_out": "Zoom out",
        "look.contrast_up": "More contrast",
        "look.contrast_down": "Less contrast",
        "look.reset": "As it was",
        "look.key": "{what} (key {pressed})",
        "task.load_again": "Load the sample again",
        "prediction.heading": "The model's guess",
        "prediction.of": "model version {version}",
        "prediction.bar": "{label}: {percent} %",
        "chosen.heading": "Why this one",
        "chosen.unknown": "It was put in the queue for a person to decide.",
        "chosen.random": "Picked at random.",
        "chosen.least_confidence": "The model is among the least sure here.",
        "chosen.margin_sampling": "The model can hardly tell its two best guesses apart.",
        "chosen.entropy_sampling": "The model spreads its guess over many labels.",
        "chosen.diverse_mini_batch": "The model hesitates, and the sample differs from the others it asks about.",
        "chosen.vote_entropy": "The latest models call it by different names.",
        "chosen.committee_divergence": "The latest models differ about it.",
        "chosen.class_balanced": "The model hesitates, and each label it guesses gets its turn.",
        "chosen.k_center": "It differs from all samples that have a label.",
        "chosen.other": "Chosen by {strategy}.",
        "keys.hint": "Press a key or click: one answer, and the next sample comes. Enter agrees with the model; "
        "/ leads to the comment, and Enter back.",
        "prediction.agree": "Agree",
        # Skipping
        "skip.heading": "Skip it",
        "skip.cannot_tell": "Cannot tell",
        "skip.damaged": "Damaged",
        "skip.none_of_these": "None of these",
        "comment": "Comment",
        "comment.hint": "A comment for the reviewer, if there is something to say",
        # After an answer
        "last.answer": "{label} received for {sample}",
        "last.skip": "{sample} skipped",
        "last.sending": "Sending: {answers} …",
        "undo": "Take it back",
        "undo.later": "Taken back. Somebody else is answering that sample just now; you are asked about it later.",
        "kept.heading": "Not sent yet: {answers}",
        "kept.answer": "{label} for {sample}",
        "kept.skip": "{sample} skipped",
        "kept.send": "Send again",
        "kept.discard": "Discard",
        # No task in hand
        "empty.heading": "All done for now",
        "empty.body": "There is no open task for you in {dataset}. This page looks again every few seconds: "
        "leave it open, and new samples appear by themselves.",
        "offline.heading": "Learnloop does not answer",
        "offline.body": "The page tries again every few seconds and goes on by itself. Nothing you answered is lost.",
        "trouble.heading": "No task can be taken now",
        "paused.heading": "Still there?",
        "paused.body": "The sample went back to the queue, so that somebody else can answer it.",
        "paused.continue": "Go on",
        # One's own answers
        "quality.heading": "Your answers",
        "quality.answers": "{count} given",
        "quality.accepted": "{percent} % of {decided} checked ones confirmed",
        "quality.gold": "{right} of {count} test samples right",
        "quality.seconds": "{seconds} s each",
        "quality.fast": "{count} very fast",
        # The queue to choose from
        "queue.state": "Show",
        "queue.open": "Open",
        "queue.skipped": "Skipped by you",
        "queue.claimed": "Being answered",
        "queue.answered": "Answered",
        "queue.review": "In review",
        "queue.confirmed": "Confirmed",
        "queue.rejected": "Not used",
        "queue.label": "The model says",
        "queue.batch": "Batch",
        "queue.age": "Came",
        "queue.age_any": "At any time",
        "queue.age_hour": "In the last hour",
        "queue.age_day": "In the last day",
        "queue.age_week": "In the last week",
        "queue.age_older": "Over a week ago",
        "queue.confidence": "The model's confidence",
        "queue.any": "Any",
        "queue.take": "Take",
        "queue.take_help": "Answer {sample} now; what you hold goes back to the queue",
        "queue.more": "Show more",
        "queue.order": "Newest first. A part of the open tasks is not listed; they come to people by themselves. "
        "After an answer the next task comes from the queue.",
        "queue.skipped_because": "You said: {reason}",
        "queue.no_reason": "nothing",
        "queue.in_hand": "in your hands",
        "queue.none_heading": "No such task",
        "queue.none": "No task is like that just now. Other filters may find some.",
        "queue.none_skipped": "You have skipped nothing that is like that.",
        # Reviewing
        "view.annotate": "Annotate",
        "view.queue": "Queue",
        "view.review": "Review",
        "review.kind.disagreement": "People differ",
        "review.kind.fast": "Answered very fast",
        "review.kind.policy": "Every label is reviewed here",
        "review.kind.skipped": "Nobody would say",
        "review.kind.suspicion": "Is the confirmed label right?",
        "review.kind.requested": "A confirmed label is in question",
        "review.waiting": "{count} waiting",
        "review.confirmed_as": "Confirmed as {label}, and in use until another label is confirmed.",
        "review.skipped": "skipped",
        "review.reviewer": "{name}, reviewing",
        "review.after": "{name}, {seconds} s",
        "review.question": "Which label is right?",
        "review.reason": "Reason",
        "review.reason_hint": "Why (needed for a label that nobody gave, to send back, and to reject)",
        "review.send_back": "Send back to others",
        "review.reject": "Do not use this sample",
        "review.put_off": "Later",
        "review.last_confirm": "{sample} is confirmed as {label}",
        "review.last_send_back": "{sample} was sent back",
        "review.last_reject": "{sample} is not used",
        "review.empty_heading": "Nothing to review",
        "review.empty": "What people differ on in {dataset}, or what looks wrong, appears here by itself.",
        # Progress
        "progress.labels": "{waiting} of {needed} labels",
        "progress.mine": "answered by you",
        "progress.pending": "waiting for a check",
        "progress.open": "open tasks",
        "progress.confirmed": "confirmed so far",
    }
}


def text(key: str, **values: object) -> str:
    """The sentence ``key`` with its placeholders filled in.

    Raises:
        KeyError: no such sentence (a programming error; a test looks for it).
    """
    return TEXTS[LANGUAGE][key].format(**values)


def has(key: str) -> bool:
    return key in TEXTS[LANGUAGE]
