package fanout

import (
	"bytes"
	"crypto/rand"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"
)

func newMediaKey(t testing.TB, name string, limits KeyLimits) (string, MediaKey) {
	t.Helper()
	secret, key, err := NewMediaKey(name, limits, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return secret, key
}

func TestAFileOfMediaKeysIsReadAsItWasWritten(t *testing.T) {
	limit := rapid.IntRange(0, 1<<31-1)
	rapid.Check(t, func(t *rapid.T) {
		var want []MediaKey
		text := "# keys of the night\n\n"
		for _, name := range rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z0-9][a-z0-9._-]{0,20}`), 0, 5, rapid.ID).Draw(t, "names") {
			limits := KeyLimits{limit.Draw(t, "connections"), limit.Draw(t, "documents"), int64(limit.Draw(t, "bytes"))}
			_, key, err := NewMediaKey(name, limits, rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, key)
			text += key.String() + " # since May\n"
		}
		got, err := ParseMediaKeys([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestAFileOfMediaKeysHoldsNoSecretAndErrorsHoldNoHash(t *testing.T) {
	secret, key := newMediaKey(t, "ap", KeyLimits{})
	if strings.Contains(key.String(), strings.TrimPrefix(secret, mediaSecretStart)) {
		t.Error("the line holds the secret")
	}
	hash := strings.Fields(key.String())[1]
	for name, c := range map[string]struct{ text, want string }{
		"secret instead of the hash": {"ap " + secret, "line 1: want the SHA-256"},
		"no hash":                    {"\nap", "line 2: want a name and"},
		"short hash":                 {"ap " + hash[2:], "line 1: want the SHA-256"},
		"bad name":                   {"AP " + hash, `line 1: name "AP"`},
		"long name":                  {strings.Repeat("a", 65) + " " + hash, "line 1: name"},
		"unknown limit":              {key.String() + " speed=3", `limit "speed": want connections`},
		"limit without a value":      {key.String() + " bytes", "limit bytes: want one positive"},
		"negative limit":             {key.String() + " bytes=-1", "limit bytes: want one positive"},
		"limit twice":                {key.String() + " bytes=1 bytes=2", "limit bytes: want one positive"},
		"name twice":                 {key.String() + "\n" + key.String(), "line 2: name ap stands in line 1"},
		"hash twice":                 {key.String() + "\nother " + hash, "line 2: the hash stands in line 1"},
		"too large":                  {strings.Repeat("#", maxMediaKeysFile+1), "more than"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseMediaKeys([]byte(c.text))
			if !errors.Is(err, ErrMediaKeys) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if err != nil && (strings.Contains(err.Error(), hash[:16]) || strings.Contains(err.Error(), secret)) {
				t.Errorf("%v holds what should not be seen", err)
			}
		})
	}
}

func TestTooManyKeysAreRefused(t *testing.T) {
	var text strings.Builder
	for i := range maxMediaKeys + 1 {
		_, key := newMediaKey(t, strings.Repeat("k", 1+i/26)+string(rune('a'+i%26)), KeyLimits{})
		text.WriteString(key.String() + "\n")
	}
	if _, err := ParseMediaKeys([]byte(text.String())); err == nil || !strings.Contains(err.Error(), "more than 256 keys") {
		t.Errorf("%v", err)
	}
}

func TestTheCommandPrintsAKeyThatItsLineLetsIn(t *testing.T) {
	var out bytes.Buffer
	c := MediaKeyCommand{Name: "ap", Connections: 3, Bytes: 1000}
	if err := c.run(&out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	keys, err := ParseMediaKeys([]byte(lines[len(lines)-1]))
	if err != nil || len(keys) != 1 || keys[0].Limits != (KeyLimits{Connections: 3, Bytes: 1000}) {
		t.Fatalf("%q: %v %v", out.String(), keys, err)
	}
	ring := newTestKeyring()
	ring.set(keys)
	if ring.find(lines[1]) == nil {
		t.Errorf("%q is not let in", lines[1])
	}
	if ring.find(lines[1]+"x") != nil || ring.find("") != nil {
		t.Error("others are let in")
	}
	for _, bad := range []MediaKeyCommand{{Name: "A B"}, {Name: "ap", Bytes: -1}, {Name: "ap", Bytes: 1 << 40}} {
		if bad.run(&out) == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
}

func FuzzParseMediaKeys(f *testing.F) {
	_, key, err := NewMediaKey("ap", KeyLimits{1, 2, 3}, rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(key.String()))
	f.Add([]byte("# nothing\n\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, err := ParseMediaKeys(text)
		if err != nil {
			return
		}
		var again []byte
		for _, k := range keys {
			again = append(again, k.String()+"\n"...)
		}
		read, err := ParseMediaKeys(again)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(keys, read); diff != "" {
			t.Error(diff)
		}
	})
}

func newTestKeyring() *keyring {
	return &keyring{metrics: newKeyMetrics(prometheus.NewRegistry()), connections: 512}
}
