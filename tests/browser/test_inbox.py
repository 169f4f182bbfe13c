"""Tests the inbox in a real Chromium, as a person uses it.

Needs a built program (`cargo build -p whereby-agent`, or its path in WHEREBY_BIN), Chromium with its driver (in
Debian: chromium and chromium-driver), and the packages of requirements.txt beside this file. Run it with:
python -m unittest discover tests/browser

Screenshots go to target/screenshots.
"""

import base64
import http.client
import json
import multiprocessing
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "runtimes"))
import program  # noqa: E402

PATIENCE = 60
SCREENSHOTS = program.ROOT / "target" / "screenshots"
SIZES = {360: 740, 800: 1000, 1280: 900}

CONFIGURATION = """
default_account = "work"

[permissions.functions.create_room]
permission = "allow"
rooms = ["bot-*"]
otherwise = "ask"
max_per_hour = 5
max_per_day = 20

[agents.assistant]
accounts = ["work"]
valid_until = 2099-01-31T00:00:00Z
[agents.assistant.permissions.functions.delete_room]
permission = "ask"

[agents.intern]
participants = "pseudonyms"
[agents.intern.permissions]
write = "deny"
"""

# What breaks out of HTML, acts on a terminal, turns the direction of text, or does not fit a line.
HOSTILE = "<img src=x onerror=alert(1)>\"'</code>\u202egnp.exe\u2066\u200b\x1b[31m&amp;" + "W" * 300


def chromium():
    """Starts a browser without a window."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars",
                 "--force-color-profile=srgb", "--no-proxy-server"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(executable_path=shutil.which("chromedriver"))
    return webdriver.Chrome(options=options, service=service)


class InboxTest(unittest.TestCase):
    """A user with a simulated Whereby, the inbox, and a browser that is not signed in."""

    @classmethod
    def setUpClass(cls):
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        cls.driver = chromium()
        cls.addClassCleanup(cls.driver.quit)

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.home = pathlib.Path(folder.name)
        self.environment = {"HOME": folder.name, "PATH": os.environ["PATH"], "TZ": "UTC"}
        simulated = program.simulator(self.environment, self.home, self.addCleanup)
        self.key = simulated["WHEREBY_ACCESS_TOKEN"]
        accounts = "".join(
            f'\n[accounts.{name}]\naccess_token = "{self.key}"\napi_url = "{simulated["WHEREBY_API_URL"]}"\n'
            for name in ["work", "school"])
        self.file = file = self.home / ".config" / "whereby" / "config.toml"
        file.parent.mkdir(parents=True)
        file.write_text(CONFIGURATION + accounts)
        file.chmod(0o600)
        self.page = subprocess.Popen(
            [program.WHEREBY, "inbox", "--web", "--json"], env=self.environment, cwd=self.home,
            stdout=subprocess.PIPE, text=True)
        self.addCleanup(self.stop)
        started = json.loads(self.page.stdout.readline())["inbox"]
        self.url, self.link = started["url"], started["link"]["url"]
        self.driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
        self.look(1280, "light")

    def stop(self):
        self.page.send_signal(signal.SIGTERM)
        self.page.wait(PATIENCE)
        self.page.stdout.close()

    # What happens elsewhere

    def run_program(self, *arguments, code=0):
        ran = subprocess.run([program.WHEREBY, *arguments], env=self.environment, cwd=self.home, check=False,
                             capture_output=True, text=True, timeout=PATIENCE)
        self.assertEqual(ran.returncode, code, ran)
        return ran.stdout

    def ask(self, function, agent="assistant", **arguments):
        """Makes a call that needs approval, and returns the approval's id."""
        given = ["call", function, json.dumps(arguments), "--agent", agent, "--json"]
        return json.loads(self.run_program(*given, code=5))["meta"]["approval_id"]

    def ask_as_client(self, name, function, **arguments):
        """Makes the call as an MCP client of this name."""
        server = subprocess.Popen([program.WHEREBY, "mcp", "--agent", "assistant"], env=self.environment,
                                  cwd=self.home, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        messages = [
            {"id": 1, "method": "initialize", "params": {
                "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": name, "version": "1"}}},
            {"method": "notifications/initialized"},
            {"id": 2, "method": "tools/call", "params": {"name": "whereby_" + function, "arguments": arguments}},
        ]
        lines = "".join(json.dumps({"jsonrpc": "2.0", **message}) + "\n" for message in messages)
        answers, _ = server.communicate(lines, timeout=PATIENCE)
        self.assertIn("approval", answers)

    def state(self, approval):
        shown = json.loads(self.run_program("approvals", "show", approval, "--json"))
        return shown["approval"]["state"]

    # What a person does and sees

    def look(self, width, theme):
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
            "width": width, "height": SIZES[width], "deviceScaleFactor": 1, "mobile": False})
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {
            "features": [{"name": "prefers-color-scheme", "value": theme},
                         {"name": "prefers-reduced-motion", "value": "reduce"}]})

    def shoot(self, name, sizes=SIZES):
        """Takes a screenshot of the whole page in each size, light and dark. It never scrolls sideways."""
        for width in sizes:
            for theme in ["light", "dark"]:
                self.look(width, theme)
                self.assert_fits(width)
                taken = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
                path = SCREENSHOTS / f"{name}-{width}-{theme}.png"
                path.write_bytes(base64.b64decode(taken["data"]))
        self.look(1280, "light")

    def assert_fits(self, width):
        wide = self.driver.execute_script("return document.documentElement.scrollWidth")
        self.assertLessEqual(wide, width)

    def sign_in(self, path=""):
        self.driver.get(self.link)
        self.until(lambda: self.driver.find_elements(By.ID, "headline"))
        self.until(lambda: self.driver.execute_script("return document.readyState") == "complete")
        if path:
            self.driver.get(self.url + path)

    def until(self, condition):
        return WebDriverWait(self.driver, PATIENCE).until(lambda _: condition())

    def find(self, css, text=None):
        found = self.driver.find_elements(By.CSS_SELECTOR, css)
        found = [one for one in found if text is None or text in one.text]
        self.assertTrue(found, f"no {css} with {text}: {self.text()}")
        return found[0]

    def text(self):
        return self.driver.find_element(By.TAG_NAME, "body").text

    def shows(self, text):
        self.until(lambda: text in self.text())

    def go(self, css, text=None):
        """Clicks, and waits for the page that follows."""
        before = self.driver.find_element(By.TAG_NAME, "html")
        self.find(css, text).click()
        self.until_gone(before)

    def until_gone(self, element):
        def is_gone():
            try:
                return not element.is_enabled()
            except Exception:
                return True
        self.until(is_gone)

    def assert_quiet(self):
        """The browser had nothing to report: no script failed, and no policy was violated."""
        entries = [entry for entry in self.driver.get_log("browser")
                   if not any(status in entry["message"] for status in [" 400 ", " 401 ", " 403 ", " 404 ", " 409 ",
                                                                        "ERR_CONNECTION"])]
        self.assertEqual(entries, [])


class Deciding(InboxTest):
    def test_a_person_signs_in_approves_and_denies(self):
        self.driver.get(self.url)
        self.shows("You are not signed in")
        self.shoot("signed-out")
        self.sign_in()
        self.shows("Nothing is waiting")
        self.shoot("empty")
        room = self.ask("create_room", room_name_prefix="standup-", room_mode="group")
        self.shows("1 call is waiting for you")
        doomed = self.ask("delete_room", room_name="daily-standup")
        self.ask("create_room", agent="assistant", room_name_prefix="webinar-", end_date="2099-03-02T10:00:00Z",
                 fields=[{"hostRoomUrl": True}, {"recording": {"type": "cloud", "destination": {
                     "provider": "s3", "bucket": "acme-recordings", "accessKeyId": "AKIA123",
                     "accessKeySecret": "very-secret-key"}}}])
        self.shows("3 calls are waiting for you")
        self.assertEqual(self.driver.title, "(3) 3 calls are waiting for you – Whereby inbox")
        self.shows("Permanently deletes the room daily-standup and removes everyone in it.")
        self.assertNotIn("very-secret-key", self.driver.page_source)
        self.shoot("waiting")
        self.go(f"#approval-{room} .approve")
        self.shows("Approved. Creates a group room")
        self.assertEqual(self.state(room), "approved")
        self.go(f"#approval-{doomed} .deny")
        self.shows("Denied. Permanently deletes")
        self.assertEqual(self.state(doomed), "denied")
        self.shoot("decided")
        # The agent makes the call that was approved, and the page follows.
        self.run_program("call", "create_room", '{"room_name_prefix": "standup-", "room_mode": "group"}',
                         "--agent", "assistant")
        self.shows("the call was made")
        self.shoot("earlier")
        self.go("a", "Details")
        self.shows("Exact arguments")
        self.assert_quiet()

    def test_a_link_works_once_and_a_person_can_leave(self):
        self.sign_in()
        self.driver.get(self.link)
        self.shows("This link no longer works")
        self.shoot("used-link")
        self.driver.get(self.url)
        self.shows("Nothing is waiting")
        self.go("button", "Sign out")
        self.shows("You are not signed in")
        self.driver.get(self.url + "enter/" + "A" * 43)
        self.shows("This link is not valid")
        self.assert_quiet()

    @unittest.skipUnless(os.geteuid() == 0, "only root can be another user")
    def test_another_user_gets_in_neither_with_a_link_nor_with_a_cookie(self):
        def status(user):
            """The status of the link for a user, fetched by a process of that user."""
            def fetch():
                os.setgroups([])
                os.setgid(user)
                os.setuid(user)
                connection = http.client.HTTPConnection(*address, timeout=PATIENCE)
                connection.request("GET", path)
                sender.send(connection.getresponse().status)
            receiver, sender = multiprocessing.Pipe(duplex=False)
            address, path = self.url[7:-1].split(":"), "/" + self.link.removeprefix(self.url)
            process = multiprocessing.get_context("fork").Process(target=fetch)
            process.start()
            process.join(PATIENCE)
            return receiver.recv()
        self.assertEqual(status(65534), 403)
        self.assertEqual(status(0), 200)

    def test_a_decision_elsewhere_shows_and_a_late_click_is_answered(self):
        approval = self.ask("delete_room", room_name="daily-standup")
        self.sign_in()
        self.driver.execute_script("document.querySelector('main').dataset.live = '/style.css'")
        first = self.driver.current_window_handle
        self.driver.switch_to.new_window("tab")
        self.addCleanup(self.driver.switch_to.window, first)
        self.addCleanup(self.driver.close)
        self.driver.get(self.url)
        self.shows("1 call is waiting for you")
        card = self.find(f"#approval-{approval}")
        height = card.size["height"]
        self.run_program("approvals", "deny", approval)
        # The second tab follows, and nothing moves.
        self.shows("Nothing is waiting")
        self.shows("Denied")
        self.assertEqual(card.size["height"], height)
        # The first tab still has its buttons.
        self.driver.switch_to.window(first)
        self.go(f"#approval-{approval} .approve")
        self.shows("Your approval came too late, and changed nothing. The call was denied")
        self.assertEqual(self.state(approval), "denied")
        self.shoot("late")
        # Whoever sees that it was denied can overrule it.
        self.go("button", "Approve after all")
        self.shows("Approved. Permanently deletes")
        self.driver.switch_to.window(self.driver.window_handles[1])
        self.assert_quiet()

    def test_hostile_text_stays_text(self):
        self.ask_as_client(HOSTILE, "delete_room", room_name="/" + HOSTILE)
        self.sign_in()
        self.shows("1 call is waiting for you")
        shown = self.text()
        for visible in ["<img src=x onerror=alert(1)>", "\\u{202e}gnp.exe\\u{2066}\\u{200b}\\u{1b}[31m&amp;"]:
            self.assertIn(visible, shown)
        for character in "\u202e\u2066\u200b\x1b":
            self.assertNotIn(character, self.driver.page_source)
        self.assertEqual(self.driver.find_elements(By.CSS_SELECTOR, "main img"), [])
        self.shoot("hostile")
        self.go("nav a", "What happened")
        self.find("summary").click()
        self.shows("\\u{202e}")
        self.assertEqual(self.driver.find_elements(By.CSS_SELECTOR, "main img"), [])
        self.shoot("hostile-log", {360: 740})
        self.assert_quiet()


class Looking(InboxTest):
    def test_the_log_is_filtered_and_stays_open_while_it_grows(self):
        self.sign_in("log")
        self.shows("No call has been made yet")
        self.run_program("call", "list_rooms", "--agent", "assistant")
        self.run_program("call", "create_room", '{"room_name_prefix": "bot-"}', "--agent", "assistant")
        self.run_program("call", "delete_room", '{"room_name": "daily-standup"}', "--agent", "intern", code=4)
        self.run_program("call", "get_room", '{"room_name": "nowhere"}', code=6)
        self.ask("delete_room", room_name="daily-standup")
        self.until(lambda: len(self.driver.find_elements(By.CSS_SELECTOR, "summary")) == 5)
        first = self.find("summary", "Creates a room whose name begins with bot-")
        first.click()
        self.shows("POST /meetings")
        self.run_program("call", "list_meetings", "--agent", "assistant")
        self.until(lambda: len(self.driver.find_elements(By.CSS_SELECTOR, "summary")) == 6)
        self.shows("POST /meetings")
        self.shoot("log")
        self.find("#result option", "Refused").click()
        self.go("button", "Filter")
        self.until(lambda: len(self.driver.find_elements(By.CSS_SELECTOR, "summary")) == 1)
        self.assertIn("intern", self.find("summary").text)
        self.assert_quiet()

    def test_rules_usage_and_a_freeze(self):
        self.run_program("call", "create_room", '{"room_name_prefix": "bot-"}', "--agent", "assistant")
        self.run_program("token", "create", "--agent", "assistant", "--function", "create_room", "--rooms",
                         "bot-*", "--uses", "20", "--for", "8h")
        self.sign_in("agents")
        self.shows("1 of 5 in the last hour")
        self.shows("20 uses left")
        self.shoot("agents")
        self.find("#agent-assistant .stop summary").click()
        self.find("#reason-assistant-").send_keys("it deleted the wrong room")
        self.go("#agent-assistant .freeze button", "Freeze")
        self.shows("Frozen: the agent assistant.")
        self.shoot("frozen", {360: 740, 1280: 900})
        self.run_program("call", "list_rooms", "--agent", "assistant", code=4)
        self.go("#frozen button", "Unfreeze")
        self.until(lambda: not self.driver.find_elements(By.CSS_SELECTOR, ".banner.frozen"))
        self.run_program("call", "list_rooms", "--agent", "assistant")
        # A freeze elsewhere appears on every page, and typed text stays.
        self.find("#agent-assistant .stop summary").click()
        self.find("#reason-assistant-").send_keys("not sent")
        self.run_program("freeze", "--reason", "lunch")
        self.shows("Frozen: everything.")
        self.assertEqual(self.find("#reason-assistant-").get_attribute("value"), "not sent")
        self.assert_quiet()

    def test_accounts_show_their_key_and_not_its_value(self):
        def dated(days):
            claims = json.dumps({"exp": int(time.time()) + days * 86400}).encode()
            return "e30." + base64.urlsafe_b64encode(claims).decode().rstrip("=") + ".x"
        self.file.write_text(self.file.read_text() + "".join(
            f'\n[accounts.{name}]\naccess_token = "{dated(days)}"\n'
            for name, days in [("soon", 3), ("later", 40), ("over", -1)]) + """
[accounts.vault]
access_token.command = ["/bin/echo"]
[accounts.lost]
access_token.file = "/nowhere/key"
enabled = false
""")
        self.sign_in("accounts")
        self.shows("Its key expires in 40 days.")
        self.shows("Key expires soon")
        self.shows("Key expired")
        self.shows("Only a call runs that")
        self.shows("/nowhere/key")
        self.assertNotIn(self.key, self.driver.page_source)
        self.shoot("accounts")
        self.assert_quiet()

    def test_the_page_says_when_the_inbox_has_stopped(self):
        self.sign_in()
        self.page.send_signal(signal.SIGTERM)
        self.shows("The inbox does not answer.")
        self.shoot("stopped", {360: 740})


class Keyboard(InboxTest):
    def press(self, *keys):
        webdriver.ActionChains(self.driver).send_keys(*keys).perform()

    def focus(self):
        return self.driver.switch_to.active_element

    def tab_to(self, text):
        for _ in range(40):
            self.press(Keys.TAB)
            if text in self.focus().text:
                # What has the focus can be seen.
                style = self.focus().value_of_css_property("outline-style")
                self.assertEqual(style, "solid")
                return self.focus()
        self.fail(f"nothing with the text {text} gets the focus")

    def test_everything_works_with_the_keyboard_alone(self):
        approval = self.ask("delete_room", room_name="daily-standup")
        self.sign_in()
        self.tab_to("Skip to the contents")
        self.press(Keys.ENTER)
        self.tab_to("Approve once")
        self.shoot("focus", {800: 1000})
        # The focus survives that the page changes around it.
        self.ask("create_room", room_name_prefix="standup-")
        self.shows("2 calls are waiting for you")
        self.assertIn("Approve once", self.focus().text)
        page = self.driver.find_element(By.TAG_NAME, "html")
        self.press(Keys.TAB, Keys.ENTER)
        self.until_gone(page)
        self.shows("Denied. Permanently deletes")
        self.assertEqual(self.state(approval), "denied")
        self.driver.get(self.url + "log")
        self.tab_to("Creates a room whose name begins with standup-")
        self.press(Keys.ENTER)
        self.shows("Requests to Whereby")
        self.driver.get(self.url + "agents")
        self.tab_to("Freeze everything")
        page = self.driver.find_element(By.TAG_NAME, "html")
        self.press(Keys.ENTER)
        self.until_gone(page)
        self.shows("Frozen: everything.")
        self.assert_quiet()


class WithoutScript(InboxTest):
    def test_the_page_works_without_its_script(self):
        self.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
        self.addCleanup(self.driver.execute_cdp_cmd, "Emulation.setScriptExecutionDisabled", {"value": False})
        approval = self.ask("delete_room", room_name="daily-standup")
        self.sign_in()
        self.go(f"#approval-{approval} .approve")
        self.shows("Approved. Permanently deletes")
        self.ask("create_room", room_name_prefix="standup-")
        self.driver.refresh()
        self.shows("1 call is waiting for you")


if __name__ == "__main__":
    unittest.main()
