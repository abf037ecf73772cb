package audit_test

import (
	"bytes"
	"fmt"
	"testing"

	"tallystream/publish/audit"
	"tallystream/schemas"
)

// onReleased forges the night's entry that released a hold.
func onReleased(cfg *audit.Config, change func(x *schemas.Entry, b []byte) ([]byte, error)) {
	forge(cfg, forged{entry: func(x *schemas.Entry, b []byte) ([]byte, error) {
		if x.Kind != schemas.EntryReleased {
			return b, nil
		}
		return change(x, b)
	}})
}

// without leaves out the one line that has all of these words.
func without(b []byte, words ...string) ([]byte, error) {
	var out []byte
	left := 0
	for line := range bytes.Lines(b) {
		if has(line, words) {
			left++
			continue
		}
		out = append(out, line...)
	}
	if left != 1 {
		return nil, fmt.Errorf("%d lines have %q, want one", left, words)
	}
	return out, nil
}

func has(line []byte, words []string) bool {
	for _, w := range words {
		if !bytes.Contains(line, []byte(w)) {
			return false
		}
	}
	return true
}

// TestEachPlantedDifferenceOfHoldsAndFallsIsNamed plants into a night in which a
// hold was released, another replaced, and numbers fell by both a release and
// a correction.
func TestEachPlantedDifferenceOfHoldsAndFallsIsNamed(t *testing.T) {
	n := aNight(t, falling)
	r, err := audit.Run(t.Context(), n.open(t))
	if err != nil {
		t.Fatal(err)
	}
	if r.Found != 0 || r.Held < 2 || r.Movements < 2 {
		t.Fatalf("want a night with holds and movements and no difference: %+v\n%s", *r, told(r))
	}
	document := "county/" + string(n.open(t).Election.Counties[0].ID)
	of := func(kind string) string { return "^" + kind + `\|entry \d+ of partition 0\|` }
	// Without what the release let count, nothing of it is listed and the unit's
	// numbers never fell; what came later counts either way.
	undone := []string{
		`^snapshot\|.*\|submissions accepted$`, `^document\|.*\|\(corrections\)\|\|-\|0\|2\|$`,
		`^listing\|corrections.ndjson\|.*line 1 is .*"kind":"release"`, `^listing\|corrections.ndjson\|.* is too many`,
	}
	for _, c := range []planted{
		{"a release that is not there", func(t *testing.T, cfg *audit.Config) {
			onReleased(cfg, func(*schemas.Entry, []byte) ([]byte, error) { return nil, errGone })
		}, append([]string{of("entry") + `.*does not have it`, `^unit\|`, `^listing\|holds.ndjson\|.*"state":"released"}, by the count .*"state":"superseded"}$`}, undone...)},
		{"a release that ends another hold", func(t *testing.T, cfg *audit.Config) {
			onReleased(cfg, func(x *schemas.Entry, b []byte) ([]byte, error) { x.Held--; return b, nil })
		}, []string{of("decision") + `.*it ends the hold of entry \d+, the entry says \d+$`, `^unit\|`}},
		{"a release that is said to have lapsed", func(t *testing.T, cfg *audit.Config) {
			onReleased(cfg, func(x *schemas.Entry, b []byte) ([]byte, error) { x.Kind = schemas.EntryLapsed; return b, nil })
		}, []string{of("decision") + `.*the ledger has it as lapsed, by the rules it is released$`, `^unit\|`}},
		{"a release of other bytes", func(t *testing.T, cfg *audit.Config) {
			onReleased(cfg, func(_ *schemas.Entry, b []byte) ([]byte, error) { return replaced(b, `sha256 [0-9a-f]*?([0-8])`, "9") })
		}, append([]string{
			of("record") + `.*has the digest`, of("signature") + `.*does not verify`, of("decision") + `.*as released, by the rules it is held \(release-of-nothing\)$`,
			`^snapshot\|.*\|submissions held$`, `^listing\|holds.ndjson\|.*release-of-nothing`, `^listing\|holds.ndjson\|`,
		}, undone...)},
		{"a release without its second signature", func(t *testing.T, cfg *audit.Config) {
			onReleased(cfg, func(_ *schemas.Entry, b []byte) ([]byte, error) {
				return replaced(b, `\n— [^\n]*\n(— [^\n]*\n)$`, "")
			})
		}, append([]string{
			of("record"), of("decision") + `.*as released, by the rules it is held \(poison\): fewer signature lines`,
			`^snapshot\|.*\|submissions held$`, `^listing\|holds.ndjson\|.*"code":"poison"`, `^listing\|holds.ndjson\|`,
		}, undone...)},
		{"a movement that is not listed", func(t *testing.T, cfg *audit.Config) {
			repaint(t, cfg, schemas.CorrectionsName, func(b []byte) ([]byte, error) { return without(b, `"kind":"release"`) })
		}, []string{
			`^object\|corrections.ndjson\|`, `^listing\|corrections.ndjson\|.*line 1 is .*"kind":"correction".* by the count it is .*"kind":"release"`,
			`^listing\|corrections.ndjson\|.*line 2 is `, `^listing\|corrections.ndjson\|.*line 3 is missing`,
		}},
		{"another number before a fall", func(t *testing.T, cfg *audit.Config) {
			repaint(t, cfg, schemas.CorrectionsName, func(b []byte) ([]byte, error) { return replaced(b, `"before":(\d)`, "99") })
		}, []string{`^object\|corrections.ndjson\|`, `^listing\|corrections.ndjson\|.*line 1 is .*"before":99.*, by the count it is `}},
		{"another reason of a correction", func(t *testing.T, cfg *audit.Config) {
			repaint(t, cfg, schemas.CorrectionsName, func(b []byte) ([]byte, error) {
				return replaced(b, `"kind":"correction","reason":"([^"]*)"`, string(schemas.CorrectRecount))
			})
		}, []string{`^object\|corrections.ndjson\|`, `^listing\|corrections.ndjson\|.*line 2 is .*"reason":"recount".*, by the count it is .*"reason":"transcription"`}},
		{"a hold in another state", func(t *testing.T, cfg *audit.Config) {
			repaint(t, cfg, schemas.HoldsName, func(b []byte) ([]byte, error) { return replaced(b, `"state":"(released)"`, "open") })
		}, []string{`^object\|holds.ndjson\|`, `^listing\|holds.ndjson\|.*"state":"open"}, by the count it is .*"state":"released"}$`}},
		{"a hold that is not listed", func(t *testing.T, cfg *audit.Config) {
			repaint(t, cfg, schemas.HoldsName, func(b []byte) ([]byte, error) { return without(b, `"state":"released"`) })
		}, []string{`^object\|holds.ndjson\|`, `^listing\|holds.ndjson\|.*line 1 is .*ballots-over-registered.*, by the count it is .*"state":"released"}$`, `^listing\|holds.ndjson\|.*line 2 is missing`}},
		{"another count of corrections", func(t *testing.T, cfg *audit.Config) {
			repaint(t, cfg, document, func(b []byte) ([]byte, error) { return replaced(b, `"corrections":(\d+)`, "7") })
		}, []string{`^object\|` + document, `^document\|` + document + `\|.*\|\(corrections\)\|\|-\|[12]\|7\|$`}},
		{"no count of corrections", func(t *testing.T, cfg *audit.Config) {
			repaint(t, cfg, document, func(b []byte) ([]byte, error) { return replaced(b, `(,"corrections":\d+)`, "") })
		}, []string{`^object\|` + document, `^document\|` + document + `\|.*\|\(corrections\)\|\|-\|[12]\|0\|$`}},
	} {
		t.Run(c.name, func(t *testing.T) { c.check(t, n.open(t)) })
	}
}
