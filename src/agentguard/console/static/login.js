// A one-time link: a prefetch reads the page but runs no script, so only a person's browser redeems it.
document.getElementById("redeem").requestSubmit();
