package elections_test

import (
	"bytes"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"tallystream/schemas"
	"tallystream/simulator/elections"
)

func TestKeysAreThoseOfTheRoster(t *testing.T) {
	e := generate(t, elections.StateKind, 1).Election()
	keys, err := elections.NewKeys(e, 9)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := schemas.OpenRoster(keys.Roster(), e)
	if err != nil {
		t.Fatal(err)
	}
	for c := range e.Counties {
		county := schemas.CountyIndex(c)
		roles := map[schemas.Role]int{}
		for _, s := range append(keys.Sign(nil, county), keys.Correct(nil, county)...) {
			k := ring.Lookup([]byte(s.Name()))
			if k == nil || k.Hash != s.KeyHash() || k.County != county {
				t.Fatalf("county %s: the roster does not know %s", e.Counties[c].ID, s.Name())
			}
			roles[k.Role]++
		}
		if roles[schemas.Official] != 1 || roles[schemas.Supervisor] != 2 {
			t.Fatalf("county %s: roles %v, want an official and two supervisors", e.Counties[c].ID, roles)
		}
	}
	again, err := elections.NewKeys(e, 9)
	if err != nil {
		t.Fatal(err)
	}
	other, err := elections.NewKeys(e, 10)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(keys.Roster(), again.Roster()) || bytes.Equal(keys.Roster(), other.Roster()) {
		t.Error("keys do not follow the seed")
	}
}

// The signer writes its keys as golang.org/x/mod/sumdb/note reads them.
func TestSignersSpeakTheNoteFormat(t *testing.T) {
	s := elections.RehearsalSigner(3, "official.lee")
	theirs, err := note.NewSigner(s.SignerKey())
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := note.NewVerifier(s.VerifierKey())
	if err != nil {
		t.Fatal(err)
	}
	for _, signer := range []note.Signer{&s, theirs} {
		signed, err := note.Sign(&note.Note{Text: "text\n"}, signer)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := note.Open(signed, note.VerifierList(verifier)); err != nil {
			t.Error(err)
		}
	}
}
