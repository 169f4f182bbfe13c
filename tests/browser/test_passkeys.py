"""Tests passkeys in a real Chromium with virtual authenticators, and the parts of the inbox around them.

Needs what test_inbox.py needs. Screenshots go to target/screenshots; with WHEREBY_BLESS=1, those of the guide
are written to docs.
"""

import base64
import json
import os
import pathlib
import sys
import unittest

from selenium.webdriver.common.by import By

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import test_inbox  # noqa: E402
from test_inbox import program  # noqa: E402

REQUIRED = '\n[approvals]\nrequire = "passkey"\n'


class PasskeyTest(test_inbox.InboxTest):
    def setUp(self):
        super().setUp()
        self.driver.execute_cdp_cmd("WebAuthn.enable", {"enableUI": False})
        self.addCleanup(self.driver.execute_cdp_cmd, "WebAuthn.disable", {})
        self.authenticator = self.plug_in()

    # Authenticators

    def plug_in(self, verified=True):
        """Connects an authenticator whose person is there, and is verified or not."""
        options = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
                   "isUserVerified": verified, "automaticPresenceSimulation": True}
        added = self.driver.execute_cdp_cmd("WebAuthn.addVirtualAuthenticator", {"options": options})
        return added["authenticatorId"]

    def unplug(self, authenticator):
        self.driver.execute_cdp_cmd("WebAuthn.removeVirtualAuthenticator", {"authenticatorId": authenticator})

    def verify(self, verified):
        self.driver.execute_cdp_cmd("WebAuthn.setUserVerified", {
            "authenticatorId": self.authenticator, "isUserVerified": verified})

    def credentials(self, authenticator):
        known = self.driver.execute_cdp_cmd("WebAuthn.getCredentials", {"authenticatorId": authenticator})
        return known["credentials"]

    # What a person does

    def require(self):
        self.file.write_text(self.file.read_text() + REQUIRED)

    def code(self):
        return json.loads(self.run_program("inbox", "--add-passkey", "--json"))["code"]

    def type_code(self, code, name="My phone"):
        self.driver.get(self.url + "passkeys")
        self.find("#passkey-code").send_keys(code)
        self.find("#passkey-name").send_keys(name)

    def enrol(self, name="My phone"):
        self.type_code(self.code(), name)
        self.go("form[data-passkey] button")
        self.until(lambda: self.driver.find_elements(By.CSS_SELECTOR, "article.card"))

    def problem(self, form):
        said = self.find(f"{form} [role=alert]")
        self.until(lambda: said.text)
        return said.text

    def log(self):
        """The decisions in the log."""
        rows = json.loads(self.run_program("audit", "--json"))
        return [row["decision"] for row in rows["audit"] if row["decision"]]


class Enrolling(PasskeyTest):
    def test_a_passkey_is_added_with_the_code_of_the_terminal(self):
        self.sign_in("passkeys")
        self.shows("There is no passkey yet.")
        self.shoot("passkeys-none")
        self.type_code("00000-00000")
        self.find("form[data-passkey] button").click()
        self.assertIn("whereby inbox --add-passkey", self.problem("form[data-passkey]"))
        code = self.code()
        wrong = "00000-00000" if code[0] != "0" else "11111-11111"
        self.type_code(wrong)
        self.find("form[data-passkey] button").click()
        self.assertIn("tries left: 4", self.problem("form[data-passkey]"))
        self.shoot("passkeys-wrong-code")
        self.type_code(code.lower())
        self.go("form[data-passkey] button")
        self.shows("My phone")
        self.assertEqual(len(self.credentials(self.authenticator)), 1)
        self.shoot("passkeys")
        # The code was used, and the authenticator has its passkey.
        self.type_code(code, "Again")
        self.find("form[data-passkey] button").click()
        self.assertIn("was used already", self.problem("form[data-passkey]"))
        self.type_code(self.code(), "Again")
        self.find("form[data-passkey] button").click()
        self.assertIn("has this passkey already", self.problem("form[data-passkey]"))
        self.driver.get(self.url + "passkeys")
        self.go("button", "Remove")
        self.shows("There is no passkey yet.")
        self.assert_quiet()

    def test_five_wrong_tries_make_a_code_invalid(self):
        self.sign_in()
        code = self.code()
        wrong = "00000-00000" if code[0] != "0" else "11111-11111"
        self.type_code(wrong)
        for told in ["left: 4", "left: 3", "left: 2", "left: 1", "invalid after 5 wrong tries"]:
            self.find("form[data-passkey] button").click()
            self.until(lambda: told in self.find("form[data-passkey] [role=alert]").text)
        self.type_code(code)
        self.find("form[data-passkey] button").click()
        self.assertIn("invalid after 5 wrong tries", self.problem("form[data-passkey]"))
        self.assertEqual(self.credentials(self.authenticator), [])

    def test_passkeys_work_at_localhost_only(self):
        port = self.url.rstrip("/").rsplit(":", 1)[1]
        self.assertEqual(self.url, f"http://localhost:{port}/")
        self.driver.get(self.link.replace("localhost", "127.0.0.1"))
        self.until(lambda: self.driver.find_elements(By.ID, "headline"))
        self.driver.get(f"http://127.0.0.1:{port}/passkeys")
        self.shows(f"Passkeys work only at http://localhost:{port}/passkeys.")
        self.shoot("passkeys-elsewhere")
        self.find("#passkey-code").send_keys(self.code())
        self.find("#passkey-name").send_keys("My phone")
        self.find("form[data-passkey] button").click()
        self.assertIn(f"work only at http://localhost:{port}", self.problem("form[data-passkey]"))
        self.assertEqual(self.credentials(self.authenticator), [])


class Approving(PasskeyTest):
    def test_nothing_but_the_registered_passkey_approves(self):
        self.require()
        self.sign_in()
        self.enrol()
        approval = self.ask("create_room", room_name_prefix="standup-", room_mode="group")
        form = f"#approval-{approval} .decide .approve-form"
        self.driver.get(self.url)
        self.shows("Approve with a passkey")
        self.shoot("passkey-required")
        # The authenticator does not know who is there.
        self.verify(False)
        self.find(f"{form} button").click()
        self.assertIn("used no passkey", self.problem(form))
        self.shoot("passkey-problem", {360: 740, 800: 1000})
        self.verify(True)
        # Another authenticator has no passkey of this installation.
        stored = self.credentials(self.authenticator)[0]
        self.unplug(self.authenticator)
        other = self.plug_in()
        self.find(f"{form} button").click()
        self.until(lambda: "used no passkey" in self.find(f"{form} [role=alert]").text)
        self.unplug(other)
        self.assertEqual(self.state(approval), "pending")
        # The person takes their own.
        self.authenticator = self.plug_in()
        self.driver.execute_cdp_cmd("WebAuthn.addCredential", {
            "authenticatorId": self.authenticator, "credential": stored})
        self.go(f"{form} button")
        self.shows("Approved. Creates a group room")
        self.assertEqual(self.state(approval), "approved")
        decided = self.log()[-1]
        self.assertEqual(decided["what"], "approve")
        identity = base64.urlsafe_b64encode(base64.b64decode(stored["credentialId"])).decode().rstrip("=")
        self.assertEqual(decided["passkey"], identity)
        self.run_program("call", "create_room", '{"room_name_prefix": "standup-", "room_mode": "group"}', "--agent", "assistant")
        self.assert_quiet()

    def test_an_answer_counts_once_and_with_the_terms_that_were_signed(self):
        self.require()
        self.sign_in()
        self.enrol()
        approval = self.ask("create_room", room_name_prefix="standup-", end_date="2999-01-01T00:00:00Z")
        self.driver.get(self.url)
        self.find(f"#approval-{approval} .more summary").click()
        self.find(f"#uses-{approval}").clear()
        self.find(f"#uses-{approval}").send_keys("3")
        self.find(f"#approval-{approval} .more [value=rooms]").click()
        self.find(f"#approval-{approval} .more [name=rooms]").send_keys("standup-*")
        self.shoot("passkey-more")
        # What is about to be sent is changed at the last moment.
        self.driver.execute_script("""
            HTMLFormElement.prototype.submit = function () {
              window.sent = new URLSearchParams(new FormData(this));
              window.sent.set("uses", "1000");
              window.sent.set("for", "7d");
              window.sent.set("rooms", "*");
            };""")
        self.find(f"#approval-{approval} .more button").click()
        self.until(lambda: self.driver.execute_script("return !!window.sent"))
        send = """
            const done = arguments[arguments.length - 1];
            fetch(`/approvals/${arguments[0]}/decision`, {method: "POST", body: window.sent})
              .then(async (response) => done([response.status, await response.text()]));"""
        status, page = self.driver.execute_async_script(send, approval)
        self.assertEqual(status, 200, page)
        listed = json.loads(self.run_program("approvals", "list", "--json"))["standing"]
        self.assertEqual([(own["uses"], own["conditions"]) for own in listed], [(3, {"rooms": ["standup-*"]})])
        # The same answer again is none.
        status, page = self.driver.execute_async_script(send, approval)
        self.assertEqual(status, 400)
        self.assertIn("reload the page", page)
        self.driver.get(self.url)
        self.shows("Allowed for more calls")
        self.shoot("standing-passkey")
        self.go("button", "Revoke")
        self.assertEqual(json.loads(self.run_program("approvals", "list", "--json"))["standing"], [])

    def test_a_removed_passkey_approves_nothing(self):
        self.require()
        self.sign_in()
        self.enrol()
        approval = self.ask("delete_room", room_name="daily-standup")
        # A page that was open before, and is not kept current.
        self.driver.get(self.url)
        self.driver.execute_script("document.querySelector('main').dataset.live = '/style.css'")
        old = self.driver.current_window_handle
        self.driver.switch_to.new_window("tab")
        self.driver.get(self.url + "passkeys")
        self.go("button", "Remove")
        self.driver.get(self.url)
        self.shows("Add a passkey first: nothing else approves calls.")
        self.driver.close()
        self.driver.switch_to.window(old)
        form = f"#approval-{approval} .decide .approve-form"
        self.find(f"{form} button").click()
        self.assertIn("no passkey is registered", self.problem(form))
        self.assertEqual(self.state(approval), "pending")

    def test_a_session_that_has_ended_is_told(self):
        self.require()
        self.sign_in()
        self.enrol()
        approval = self.ask("delete_room", room_name="daily-standup")
        self.driver.get(self.url)
        form = f"#approval-{approval} .decide .approve-form"
        self.driver.execute_script("document.querySelector('main').dataset.live = '/style.css'")
        self.driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
        self.find(f"{form} button").click()
        self.assertIn("Reload this page", self.problem(form))
        self.assertEqual(self.state(approval), "pending")


class AllowingMore(PasskeyTest):
    def test_a_person_allows_the_next_calls_and_takes_it_back(self):
        self.sign_in()
        exact = self.ask("create_room", room_name_prefix="standup-", end_date="2999-01-01T00:00:00Z")
        self.ask("delete_room", room_name="daily-standup")
        self.shows("2 calls are waiting for you")
        for summary in self.driver.find_elements(By.CSS_SELECTOR, ".more summary"):
            summary.click()
        self.shoot("allow-more")
        # Typed text stays while the page changes around it.
        self.find(f"#uses-{exact}").clear()
        self.find(f"#uses-{exact}").send_keys("2")
        doomed = self.ask("delete_room", room_name="demo-call")
        self.shows("3 calls are waiting for you")
        self.assertEqual(self.find(f"#uses-{exact}").get_attribute("value"), "2")
        self.go(f"#approval-{exact} .more button")
        self.shows("1 of 2 left")
        self.assertEqual(self.state(exact), "approved")
        # What cannot be undone has to be said.
        self.find(f"#approval-{doomed} .more summary").click()
        self.find(f"#approval-{doomed} .more button").click()
        self.assertEqual(self.state(doomed), "pending")
        self.find(f"#approval-{doomed} .severe input").click()
        self.go(f"#approval-{doomed} .more button")
        self.shows("4 of 5 left")
        self.shoot("standing")
        self.assertEqual(len(self.driver.find_elements(By.CSS_SELECTOR, "#standing article")), 2)
        self.go("#standing button", "Revoke")
        self.until(lambda: len(self.driver.find_elements(By.CSS_SELECTOR, "#standing article")) == 1)
        self.assert_quiet()

    def test_the_page_makes_the_call_of_a_client_that_is_gone(self):
        self.ask_as_client("gone", "create_room", room_name_prefix="standup-", room_mode="group")
        self.sign_in()
        self.shows("1 call is waiting for you")
        self.go(".approve", "Approve once")
        self.shows("the call was made")
        self.assert_quiet()


class ForTheGuide(PasskeyTest):
    """The pictures of the guide."""

    def shoot_for_guide(self, name):
        path = program.ROOT / "docs" / f"{name}.png"
        self.look(800, "light")
        # A page that has nothing below its contents.
        height = self.driver.execute_script("return Math.ceil(document.querySelector('main').getBoundingClientRect().bottom)")
        taken = self.driver.execute_cdp_cmd("Page.captureScreenshot", {
            "captureBeyondViewport": True, "clip": {"x": 0, "y": 0, "width": 800, "height": height, "scale": 1}})
        if os.environ.get("WHEREBY_BLESS") == "1":
            path.write_bytes(base64.b64decode(taken["data"]))
        self.assertTrue(path.exists(), f"write it with WHEREBY_BLESS=1: {path}")

    def test_pictures(self):
        self.sign_in()
        self.ask("delete_room", room_name="daily-standup")
        self.shows("1 call is waiting for you")
        self.shoot_for_guide("inbox-waiting")
        self.find(".more summary").click()
        self.shoot_for_guide("inbox-allow-more")
        self.enrol()
        self.shows("My phone")
        self.shoot_for_guide("inbox-passkeys")


if __name__ == "__main__":
    unittest.main()
