// Asks the browser for a passkey when a form needs one, and sends the form with its answer.
"use strict";

(() => {
  const TOLD = {
    NotAllowedError: "The browser used no passkey: none fits, the request was cancelled, or it took too long.",
    InvalidStateError: "This device has this passkey already.",
  };

  let isAsking = false;

  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!form.dataset.passkey) return;
    event.preventDefault();
    // One question at a time: the browser refuses a second one.
    if (isAsking) return;
    const said = form.querySelector("[role=alert]");
    said.textContent = "";
    isAsking = true;
    ask(form)
      .catch((error) => { said.textContent = TOLD[error.name] || error.message; })
      .finally(() => { isAsking = false; });
  });

  async function ask(form) {
    if (location.hostname !== "localhost") {
      throw new Error(`Passkeys work only at http://localhost:${location.port}. Sign in there with a new link.`);
    }
    if (!window.PublicKeyCredential || !PublicKeyCredential.parseRequestOptionsFromJSON) {
      throw new Error("This browser has no passkeys. Use a newer one.");
    }
    const asked = await options(form);
    const credential = form.dataset.passkey === "create"
      ? await navigator.credentials.create({
          publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(asked.options),
        })
      : await navigator.credentials.get({
          publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(asked.options),
        });
    form.elements["passkey-token"].value = asked.token;
    form.elements["passkey-response"].value = JSON.stringify(credential);
    form.submit();
  }

  // Returns what the inbox wants to know from the browser.
  async function options(form) {
    let sent;
    try {
      sent = await fetch(form.dataset.options, { method: "POST", body: new URLSearchParams(new FormData(form)) });
    } catch {
      throw new Error("The inbox does not answer. Start it again, and sign in with its new link.");
    }
    // The session may have ended, and then the answer is a page.
    if (!/^application\/json\b/.test(sent.headers.get("content-type"))) {
      throw new Error("You are no longer signed in, or the inbox was restarted. Reload this page.");
    }
    const asked = await sent.json();
    if (!sent.ok) throw new Error(asked.error);
    return asked;
  }
})();
