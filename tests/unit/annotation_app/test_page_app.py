"""The page itself, run by Streamlit's own test harness against a server over a real socket."""

from streamlit.testing.v1 import AppTest


def log_in(page: AppTest, user: str = "anna", password: str = "secret-a") -> AppTest:
    if not page.text_input:
        page.run()
    page.text_input[0].set_value(user)
    page.text_input[1].set_value(password)
    return page.button[0].click().run()


def words(page: AppTest) -> str:
    assert not page.exception
    shown = [*page.get("html"), *page.text, *page.markdown, *page.subheader, *page.header]
    boxes = [*page.info, *page.warning, *page.error]
    return "\n".join([*(str(element.proto) for element in shown), *(box.value for box in boxes)])


def answers(page: AppTest) -> list[str]:
    return [button.label for button in page.button if (button.key or "").startswith("answer_")]


def ways_to_label(page: AppTest) -> list[str]:
    """The buttons that give the task in hand a label."""
    return [button.key for button in page.button if (button.key or "").startswith(("answer_", "agree_"))]


def test_wrong_password_is_said_and_nothing_opens(page: AppTest) -> None:
    log_in(page, password="guess")
    assert page.error[0].value == "The user name or the password is wrong."
    assert "digits" not in words(page)


def test_empty_form_is_not_sent(page: AppTest) -> None:
    page.run()
    page.button[0].click().run()
    assert "Type your user name" in page.error[0].value


def test_task_is_shown_and_one_click_answers_it(page: AppTest, double) -> None:
    log_in(page)
    shown = words(page)
    assert 'alt=\\"Sample batch_7/0001 of dataset digits' in shown
    assert "1: 52 %" in shown
    assert "40 more labels until the next training" in shown
    assert answers(page) == [str(digit) for digit in range(10)]
    page.button(key="answer_1_3").click().run()
    assert [(a["task"], a["label"]) for a in double.answers] == [(1, "3")]
    assert "batch_7/0002" in words(page)
    assert "3 received for batch_7/0001" in words(page)
    assert page.button(key="answer_2_3").proto.shortcut == "3"


def test_a_reviewers_words_stand_beside_a_task_that_was_sent_back(page: AppTest, double) -> None:
    double.open[0]["chosen_by"]["sent_back"] = "rita: mind the <loop>"
    log_in(page)
    assert "A reviewer sent it back. rita: mind the &lt;loop&gt;" in words(page)
    page.button(key="answer_1_3").click().run()
    assert "sent it back" not in words(page)


def test_skip_with_reason(page: AppTest, double) -> None:
    log_in(page)
    page.button(key="skip_1_damaged").click().run()
    assert double.answers[0]["reason"] == "Damaged"
    assert "batch_7/0002" in words(page)


def test_role_that_may_not_annotate_is_told_so(page: AppTest, double) -> None:
    log_in(page, "vera", "secret-v")
    assert "not part of your role" in words(page)
    assert not answers(page)
    assert not double.claims


def test_empty_queue_is_kind_and_goes_on_by_itself(page: AppTest, double) -> None:
    double.open.clear()
    log_in(page)
    assert "All done for now" in words(page)
    double.put(1)
    page.run()
    assert answers(page)


def test_lost_connection_says_so_and_recovers(page: AppTest, double) -> None:
    log_in(page)
    double.down = True
    page.button(key="answer_1_3").click().run()
    assert "Not sent yet" in words(page)
    assert "does not answer" in words(page)
    assert "batch_7/0002" in words(page)  # it was there already, and can be answered
    double.down = False
    page.run()
    page.run()
    assert [(a["task"], a["label"]) for a in double.answers] == [(1, "3")]
    assert "Not sent yet" not in words(page)
    assert answers(page)


def test_answer_to_a_task_that_somebody_else_has_now_is_kept_beside_the_next(page: AppTest, double) -> None:
    log_in(page)
    double.give(1, "ben")
    page.button(key="answer_1_3").click().run()
    assert "Not sent yet" in words(page)
    assert "task 1 is ben's" in words(page).replace("&#x27;", "'")
    assert "batch_7/0002" in words(page)
    double.give(1, "anna")
    page.button(key="kept_send").click().run()
    assert [a["task"] for a in double.answers] == [1]
    assert "Not sent yet" not in words(page)


def test_kept_answer_can_be_discarded(page: AppTest, double) -> None:
    log_in(page)
    double.give(1, "ben")
    page.button(key="answer_1_3").click().run()
    page.button(key="kept_discard").click().run()
    assert "Not sent yet" not in words(page)
    assert not double.answers


def test_ended_session_goes_back_to_the_form_and_the_answer_is_sent_after(page: AppTest, double) -> None:
    log_in(page)
    double.revoked.add(double.token("anna"))
    page.button(key="answer_1_3").click().run()
    assert "Your session has ended" in page.info[0].value
    assert not double.answers
    log_in(page)
    assert [(a["task"], a["label"]) for a in double.answers] == [(1, "3")]


def test_another_person_does_not_inherit_answers(page: AppTest, double) -> None:
    double.users["ben"] = ("secret-b", "annotator")
    log_in(page)
    double.revoked.add(double.token("anna"))
    page.button(key="answer_1_3").click().run()
    log_in(page, "ben", "secret-b")
    assert not double.answers
    assert "Not sent yet" not in words(page)


def test_log_out_ends_the_token_and_gives_back_what_was_leased(page: AppTest, double) -> None:
    log_in(page)
    assert sorted(double.claims) == [1, 2]
    page.button(key="logout").click().run()
    assert page.info[0].value == "You are logged out."
    assert double.token("anna") in double.revoked
    assert not double.claims


def test_dataset_is_chosen_when_there_are_several(page: AppTest, double) -> None:
    double.datasets["pets"] = ["cat", "dog"]
    double.put(1, "pets")
    log_in(page)
    assert page.selectbox(key="dataset").options == ["digits", "pets"]
    page.selectbox(key="dataset").set_value("pets").run()
    assert answers(page) == ["cat", "dog"]
    assert [button.proto.shortcut for button in page.button if (button.key or "").startswith("answer_")] == ["1", "2"]


def test_sample_that_is_no_image_can_be_skipped(page: AppTest, double) -> None:
    double.content = b"no image"
    log_in(page)
    assert "cannot be shown" in words(page)
    assert ways_to_label(page) == []
    page.button(key="skip_1_damaged").click().run()
    assert double.answers[0]["reason"].startswith("Damaged: this sample is no image that can be shown: ")


def test_a_sample_that_is_gone_can_only_be_skipped_and_the_reason_is_written_already(page: AppTest, double) -> None:
    double.content_gone = True
    log_in(page)
    assert "not in the store any more" in page.warning[0].value.replace("\\", "")
    assert ways_to_label(page) == []
    page.button(key="skip_1_damaged").click().run()
    (said,) = double.answers
    assert "label" not in said
    assert said["reason"].startswith("Damaged: the sample of task 1 is not in the store any more")


def test_a_sample_that_comes_when_it_is_loaded_again_is_answered_without_the_reason(page: AppTest, double) -> None:
    double.content_gone = True
    log_in(page)
    double.content_gone = False
    page.button(key="load_again").click().run()
    assert len(ways_to_label(page)) == 11  # a class each, and to agree
    page.button(key="answer_1_3").click().run()
    assert [(a["label"], a["comment"]) for a in double.answers] == [("3", "")]


def test_a_sample_of_no_known_type_can_only_be_skipped(page: AppTest, double) -> None:
    double.open[0]["content_type"] = "application/octet-stream"
    log_in(page)
    assert ways_to_label(page) == []
    page.button(key="skip_1_cannot_tell").click().run()
    assert double.answers[0]["reason"] == "Cannot tell: a sample of type application/octet-stream cannot be shown"


def test_token_is_never_in_a_url(page: AppTest, double) -> None:
    log_in(page)
    assert {"/auth/token", "/learnloop/api/v1/session"} <= {url.split("?")[0] for url in double.urls}
    assert not [url for url in double.urls if "token-of" in url]


def test_cookie_of_airflow_opens_the_page(page: AppTest, double, cookies: dict[str, str]) -> None:
    cookies["_token"] = double.token("anna")
    page.run()
    assert answers(page)
    double.revoked.add(double.token("anna"))
    page.button(key="answer_1_3").click().run()
    assert "Your session has ended" in page.info[0].value
    log_in(page)
    assert [(a["task"], a["label"]) for a in double.answers] == [(1, "3")]


def test_stale_cookie_leads_to_the_form(page: AppTest, cookies: dict[str, str]) -> None:
    cookies["_token"] = "token-of-nobody"
    page.run()
    assert "Your session has ended" in page.info[0].value
    assert len(page.text_input) == 2


def test_server_that_is_down_at_the_start_is_waited_for(page: AppTest, double, cookies: dict[str, str]) -> None:
    cookies["_token"] = double.token("anna")
    double.down = True
    page.run()
    assert "Learnloop does not answer" in words(page)
    double.down = False
    page.run()
    assert answers(page)
