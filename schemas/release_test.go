package schemas_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"tallystream/schemas"
)

func TestAReleaseNeedsTwoDifferentSupervisorsOfTheCounty(t *testing.T) {
	a := newAuthority(t, 1)
	release := func(names ...string) *schemas.Release {
		var signers []note.Signer
		for _, name := range names {
			signers = append(signers, a.signers[name])
		}
		b, err := schemas.AppendRelease(nil, "example.org/e", "u", 3, schemas.DigestOf([]byte("{}")), schemas.ReleaseChecked, "Held against the tapes.", signers...)
		if err != nil {
			t.Fatal(err)
		}
		if !schemas.IsRelease(b) {
			t.Fatal("a release is not told from a submission")
		}
		l := new(schemas.Release)
		if err := l.Parse(b); err != nil {
			t.Fatal(err)
		}
		return l
	}
	for _, c := range []struct {
		names []string
		want  schemas.ProblemCode
	}{
		{[]string{"sup-1", "sup-2"}, ""},
		{[]string{"sup-1"}, schemas.ProblemSignaturesMissing},
		{[]string{"sup-1", "sup-1"}, schemas.ProblemSignaturesMissing},
		{[]string{"sup-1", "sup-1-alias"}, schemas.ProblemSignaturesMissing},
		{[]string{"sup-1", "official"}, schemas.ProblemRole},
		{[]string{"sup-1", "sup-sumter"}, schemas.ProblemRole},
		{[]string{"sup-1", "stranger"}, schemas.ProblemUnknownKey},
	} {
		err := a.ring.AuthorizeRelease(a.election, release(c.names...), 0)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%q: %v", c.names, err)
		case c.want != "" && (err == nil || err.Code != c.want || !strings.HasPrefix(err.Field, "/release/signatures")):
			t.Errorf("%q: got %v, want %s", c.names, err, c.want)
		}
	}
	changed := release("sup-1", "sup-2")
	changed.Text = bytes.Replace(changed.Text, []byte("revision 3"), []byte("revision 4"), 1)
	if err := a.ring.AuthorizeRelease(a.election, changed, 0); err == nil || err.Code != schemas.ProblemSignature {
		t.Errorf("changed after signing: got %v", err)
	}
}

func TestEachBadReleaseIsRefusedWithItsField(t *testing.T) {
	a := newAuthority(t, 1)
	good, err := schemas.AppendRelease(nil, "example.org/test", "leon.1", 3, schemas.DigestOf(nil), schemas.ReleaseChecked, "Right.", a.signers["sup-1"], a.signers["sup-2"])
	if err != nil {
		t.Fatal(err)
	}
	for old, c := range map[string]struct{ with, field string }{
		"/release/v1":       {"/release/v2", "/release/origin"},
		"unit leon.1":       {"unit Leon 1", "/release/unit"},
		"revision 3":        {"revision 03", "/release/revision"},
		"sha256 e3b0":       {"sha256 E3B0", "/release/sha256"},
		"reason checked":    {"reason because", "/release/reason"},
		"text Right.":       {"text ", "/release/text"},
		"text Right.\n":     {"text " + strings.Repeat("x", schemas.MaxText+1) + "\n", "/release/text"},
		"Right.\n":          {"Right.\x07\n", "/release/text"},
		"Right":             {"\xff", "/release/text"},
		"text Right.\n\n":   {"text Right.\nmore\n\n", "/release"},
		"revision 3\n":      {"", "/release/revision"},
		"\n\n\u2014 ":       {"\n\u2014 ", "/release"},
		"\u2014 sup-1":      {"- sup-1", "/release/signatures"},
		"\u2014 sup-1 ":     {"\u2014 sup-1\t", "/release/signatures"},
		"example.org/test/": {strings.Repeat("x", schemas.MaxNote), "/release"},
	} {
		bad := bytes.Replace(good, []byte(old), []byte(c.with), 1)
		if bytes.Equal(bad, good) {
			t.Fatalf("%q is not in the example", old)
		}
		err := new(schemas.Release).Parse(bad)
		field, ok := errors.AsType[*schemas.FieldError](err)
		if !ok || field.Field != c.field {
			t.Errorf("%q for %q: got %v, want the field %s", c.with, old, err, c.field)
		}
	}
}

func FuzzRelease(f *testing.F) {
	a := newAuthority(f, 1)
	good, err := schemas.AppendRelease(nil, "example.org/e", "u", 3, schemas.DigestOf(nil), schemas.ReleaseCourtOrder, "Über den Bäumen.", a.signers["sup-1"], a.signers["sup-2"])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(bytes.Replace(good, []byte("text"), []byte("texts"), 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		var l schemas.Release
		if l.Parse(b) != nil {
			return
		}
		again, err := schemas.AppendReleaseText(nil, string(l.Origin), schemas.UnitID(l.Unit), l.Revision, l.Digest, l.Reason, string(l.Public))
		if err != nil || !bytes.Equal(again, l.Text) {
			t.Errorf("read, but written otherwise: %v\n%q\n%q", err, l.Text, again)
		}
		if !schemas.IsRelease(b) {
			t.Errorf("read, but not told from a submission: %q", b)
		}
		_ = a.ring.AuthorizeRelease(a.election, &l, 0) // must not panic
	})
}
