package schemas_test

import (
	"crypto/rand"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"tallystream/schemas"
)

func TestPrivateKeyTellsItsVerifierKey(t *testing.T) {
	for range 20 { // some encodings hold a '+'
		private, public, err := note.GenerateKey(rand.Reader, "clerk/leon")
		if err != nil {
			t.Fatal(err)
		}
		signer, verifier, err := schemas.OpenPrivateKey(" " + private + "\n")
		if err != nil {
			t.Fatal(err)
		}
		if verifier != public || signer.Name() != "clerk/leon" {
			t.Errorf("verifier key %s of %s, want %s", verifier, signer.Name(), public)
		}
	}
}

func TestPrivateKeyErrorsDoNotRepeatTheKey(t *testing.T) {
	private, _, err := note.GenerateKey(rand.Reader, "clerk")
	if err != nil {
		t.Fatal(err)
	}
	secret := private[len(private)-20:]
	for _, s := range []string{"", "x", private[:len(private)-4], strings.Replace(private, "clerk", "other", 1)} {
		if _, _, err := schemas.OpenPrivateKey(s); err == nil {
			t.Errorf("%d bytes accepted", len(s))
		} else if strings.Contains(err.Error(), secret) {
			t.Errorf("error repeats the key")
		}
	}
}
