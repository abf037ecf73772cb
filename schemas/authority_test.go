package schemas_test

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"tallystream/schemas"
)

// authority is an election of two counties, and keys for it by name.
type authority struct {
	election *schemas.Election
	ring     *schemas.Keyring
	signers  map[string]note.Signer
}

func seededKey(t testing.TB, name string, seed byte) (note.Signer, string) {
	t.Helper()
	reader := strings.NewReader(strings.Repeat(string(rune('a'+seed)), ed25519.SeedSize))
	private, public, err := note.GenerateKey(reader, name)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer, public
}

func newAuthority(t testing.TB, signatures int) *authority {
	t.Helper()
	d := schemas.Definition{
		Schema: schemas.DefinitionSchema, Election: "e", Name: "E", Date: "2026-11-03", Origin: "example.org/e",
		CountTypes: []schemas.CountType{schemas.ElectionDay}, Partitions: 1, Signatures: signatures,
		States:   []schemas.State{{ID: "st", Name: "St"}},
		Counties: []schemas.County{{ID: "leon", State: "st"}, {ID: "sumter", State: "st"}},
		Contests: []schemas.Contest{{
			ID: "mayor", Kind: schemas.CandidateContest, VotesAllowed: 1,
			Residuals: schemas.ResidualsNone, Selections: []schemas.Selection{{ID: "x"}},
		}},
		Styles: []schemas.Style{{ID: "s", Contests: []schemas.ContestID{"mayor"}}},
		Units:  []schemas.Unit{{ID: "u", County: "leon", Kind: schemas.PrecinctUnit, Style: "s"}},
	}
	b, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	e, err := schemas.OpenElection(b)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{election: e, signers: map[string]note.Signer{}}
	roster := schemas.Roster{Schema: schemas.RosterSchema, Election: "e"}
	for i, k := range []struct {
		name   string
		role   schemas.Role
		county schemas.CountyID
	}{
		{"official", schemas.Official, "leon"},
		{"official-2", schemas.Official, "leon"},
		{"official-sumter", schemas.Official, "sumter"},
		{"approver", schemas.Approver, ""},
		{"sup-1", schemas.Supervisor, "leon"},
		{"sup-2", schemas.Supervisor, ""},
		{"sup-sumter", schemas.Supervisor, "sumter"},
	} {
		signer, public := seededKey(t, k.name, byte(i))
		a.signers[k.name] = signer
		roster.Keys = append(roster.Keys, schemas.KeyEntry{Key: public, Role: k.role, County: k.county})
	}
	// One person's key under a second name, and one that the roster lacks.
	alias, public := seededKey(t, "sup-1-alias", 4)
	a.signers["sup-1-alias"] = alias
	roster.Keys = append(roster.Keys, schemas.KeyEntry{Key: public, Role: schemas.Supervisor})
	a.signers["stranger"], _ = seededKey(t, "stranger", 20)
	a.signers["official-again"], _ = seededKey(t, "official", 21) // the name of another's key
	if b, err = json.Marshal(roster); err != nil {
		t.Fatal(err)
	}
	if a.ring, err = schemas.OpenRoster(b, e); err != nil {
		t.Fatal(err)
	}
	return a
}

// signed signs as the named keys; a "!" before a name spoils that signature.
func (a *authority) signed(t testing.TB, names ...string) *schemas.Envelope {
	t.Helper()
	var signers []note.Signer
	for _, name := range names {
		s := a.signers[strings.TrimPrefix(name, "!")]
		if strings.HasPrefix(name, "!") {
			s = spoiled{s}
		}
		signers = append(signers, s)
	}
	b, err := schemas.AppendEnvelope(nil, "example.org/e", "u", 1, []byte("{}"), signers...)
	if err != nil {
		t.Fatal(err)
	}
	v := new(schemas.Envelope)
	if err := v.Parse(b); err != nil {
		t.Fatal(err)
	}
	return v
}

type spoiled struct{ note.Signer }

func (s spoiled) Sign(text []byte) ([]byte, error) {
	sig, err := s.Signer.Sign(text)
	sig[7] ^= 1
	return sig, err
}

func TestAuthorizeAsksForTheRightSeats(t *testing.T) {
	const ok = schemas.ProblemCode("")
	for _, c := range []struct {
		signatures int
		correction bool
		names      string
		want       schemas.ProblemCode
	}{
		{1, false, "official", ok},
		{1, false, "official-2", ok},
		{1, false, "stranger official", ok},
		{1, false, "approver official", ok},
		{1, false, "official !approver", ok}, // only the seats are looked at
		{1, false, "stranger", schemas.ProblemUnknownKey},
		{1, false, "official-again", schemas.ProblemUnknownKey},
		{1, false, "official-sumter", schemas.ProblemRole},
		{1, false, "sup-1", schemas.ProblemRole},
		{1, false, "stranger sup-1", schemas.ProblemRole},
		{1, false, "!official", schemas.ProblemSignature},
		{2, false, "official approver", ok},
		{2, false, "approver official", ok},
		{2, false, "official", schemas.ProblemSignaturesMissing},
		{2, false, "official official", schemas.ProblemSignaturesMissing},
		{2, false, "official official-2", schemas.ProblemRole},
		{2, false, "official stranger", schemas.ProblemUnknownKey},
		{2, false, "official !approver", schemas.ProblemSignature},
		{1, true, "sup-1 sup-2", ok},
		{2, true, "sup-2 sup-1", ok},
		{2, true, "official approver sup-1 sup-2", ok},
		{1, true, "sup-1", schemas.ProblemSignaturesMissing},
		{1, true, "sup-1 sup-1", schemas.ProblemSignaturesMissing},
		{1, true, "sup-1 sup-1-alias", schemas.ProblemSignaturesMissing},
		{1, true, "sup-1 sup-sumter", schemas.ProblemRole},
		{1, true, "official", schemas.ProblemRole},
		{1, true, "sup-1 stranger", schemas.ProblemUnknownKey},
		{1, true, "sup-1 !sup-2", schemas.ProblemSignature},
	} {
		name := fmt.Sprintf("%d signatures, correction %t: %s", c.signatures, c.correction, c.names)
		t.Run(name, func(t *testing.T) {
			a := newAuthority(t, c.signatures)
			v := a.signed(t, strings.Fields(c.names)...)
			err := a.ring.Authorize(a.election, v, 0, c.correction)
			switch {
			case c.want == ok && err != nil:
				t.Errorf("refused: %v", err)
			case c.want != ok && err == nil:
				t.Errorf("accepted, want %s", c.want)
			case c.want != ok && err.Code != c.want:
				t.Errorf("problem %s (%v), want %s", err.Code, err, c.want)
			}
		})
	}
}

func BenchmarkAuthorize(b *testing.B) {
	a := newAuthority(b, 1)
	v := a.signed(b, "official")
	b.ReportAllocs()
	for b.Loop() {
		if err := a.ring.Authorize(a.election, v, 0, false); err != nil {
			b.Fatal(err)
		}
	}
}
