// Asks the browser for a passkey when a form needs one, and sends the form with its answer.
"use strict";

(() => {
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!form.dataset.passkey) return;
    event.preventDefault();
    const said = form.querySelector("[role=alert]");
    said.textContent = "";
    ask(form).catch((error) => {
      said.textContent = error.name === "NotAllowedError"
        ? "The browser used no passkey: the request was cancelled, or it took too long."
        : error.message;
    });
  });

  async function ask(form) {
    if (location.hostname !== "localhost") {
      throw new Error(`Passkeys work only at http://localhost:${location.port}. Sign in there with a new link.`);
    }
    if (!window.PublicKeyCredential || !PublicKeyCredential.parseRequestOptionsFromJSON) {
      throw new Error("This browser has no passkeys. Use a newer one.");
    }
    const sent = await fetch(form.dataset.options, {
      method: "POST",
      body: new URLSearchParams(new FormData(form)),
    });
    const asked = await sent.json();
    if (!sent.ok) throw new Error(asked.error);
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
})();
