package verify_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"tallystream/publish/log"
	"tallystream/publish/log/leaf"
	"tallystream/schemas"
)

// Two readers that share no code must read the same, or refuse both: whatever
// one of them takes and the other does not would split those who count again.
// (JavaScript refuses numbers above 2^53, which no election reaches; so none is
// tried.)

// read reads one input and says what it says; the same words as read_many.mjs.
type read func(e *schemas.Election, b []byte) (string, error)

var readers = map[string]read{
	"body": func(e *schemas.Election, b []byte) (string, error) {
		var s schemas.Submission
		var st schemas.Statement
		if err := s.Decode(b); err != nil {
			return "", err
		}
		if err := e.Resolve(&s, &st); err != nil {
			return "", err
		}
		correction := ""
		if s.Correction != nil {
			correction = string(s.Correction.Reason) + " " + s.Correction.Text
		}
		var cells []string
		for _, n := range st.Cells {
			cells = append(cells, strconv.Itoa(int(n)))
		}
		return said(e.Units[st.Unit].ID, st.Revision, strings.Join(cells, ","), e.Implausible(&st), correction), nil
	},
	"envelope": func(_ *schemas.Election, b []byte) (string, error) {
		var v schemas.Envelope
		if err := v.Parse(b); err != nil {
			return "", err
		}
		out := []any{string(v.Origin), string(v.Unit), v.Revision, v.Digest}
		for _, s := range v.Signatures() {
			out = append(out, fmt.Sprintf("%s %d %s", s.Name, s.Hash, base64.StdEncoding.EncodeToString(s.Sig[:])))
		}
		return said(out...), nil
	},
	"release": func(_ *schemas.Election, b []byte) (string, error) {
		var l schemas.Release
		if err := l.Parse(b); err != nil {
			return "", err
		}
		return said(string(l.Origin), string(l.Unit), l.Revision, l.Digest, l.Reason, string(l.Public), len(l.Signatures())), nil
	},
	"leaf": func(_ *schemas.Election, b []byte) (string, error) {
		l, err := leaf.Decode(b)
		if err != nil {
			return "", err
		}
		return strings.TrimSuffix(strings.TrimPrefix(string(l.Kind()), "tallystream/leaf/"), "/v1"), nil
	},
	"checkpoint": func(_ *schemas.Election, b []byte) (string, error) {
		c, err := log.PeekCheckpoint(b)
		if err != nil {
			return "", err
		}
		return said(c.Origin, c.Tree.N, base64.StdEncoding.EncodeToString(c.Tree.Hash[:])), nil
	},
	"definition": func(_ *schemas.Election, b []byte) (string, error) {
		e, err := schemas.OpenElection(b)
		if err != nil {
			return "", err
		}
		var cells []string
		for i := range e.Counties {
			cells = append(cells, strconv.Itoa(e.Counties[i].Cells))
		}
		return said(len(e.Units), len(e.Counties), strings.Join(cells, ",")), nil
	},
	"roster": func(e *schemas.Election, b []byte) (string, error) {
		_, err := schemas.OpenRoster(b, e)
		return "", err
	},
	"manifest": func(_ *schemas.Election, b []byte) (string, error) {
		entries, err := schemas.ParseManifest(b)
		if err == nil && !slices.IsSortedFunc(entries, func(a, b schemas.ManifestEntry) int { return strings.Compare(a.Name, b.Name) }) {
			err = fmt.Errorf("not sorted")
		}
		return strconv.Itoa(len(entries)), err
	},
	"policy": func(_ *schemas.Election, b []byte) (string, error) {
		p, err := log.ParsePolicy(b)
		if err != nil {
			return "", err
		}
		return strconv.Itoa(len(p.Witnesses)), nil
	},
}

func said(words ...any) string {
	var out []string
	for _, w := range words {
		out = append(out, fmt.Sprint(w))
	}
	return strings.Join(out, "|")
}

// pieces are what readers of JSON and of notes stumble over.
var pieces = []string{
	`"`, `,`, `:`, `[`, `]`, `{`, `}`, `0`, `00`, `-1`, `1e2`, `1.0`, `99999999`, `100000000`, `99999999999`, `null`, `true`, ` `, "\t", "\n", "\n\n", "\r", `\`, `A`, `\ud800`, `\ud83d\ude00`, "\u2028",
	`"unit":"oak.1",`, `"__proto__":1,`, `,"correction":{"reason":"recount","text":"x"}`, "é", "\xff", "\x00", "\x7f", "\u00a0", "\u0085", "— ", "+", "=", "A", "z", "/v1", "\xef\xbb\xbf",
}

// spoil changes an input in a few places.
func spoil(r *rand.Rand, b []byte) []byte {
	b = bytes.Clone(b)
	for range 1 + r.IntN(3) {
		at := r.IntN(len(b) + 1)
		gone := min(r.IntN(4), len(b)-at)
		switch r.IntN(8) {
		case 0:
			b = slices.Delete(b, at, at+gone)
		case 1: // a piece of itself again
			from := r.IntN(len(b) + 1)
			b = slices.Insert(b, at, bytes.Clone(b[from:from+min(r.IntN(60), len(b)-from)])...)
		case 2:
			if at < len(b) {
				b[at] ^= 1 << r.IntN(8)
			}
		case 3, 4: // another digit
			for ; at < len(b); at++ {
				if b[at] >= '0' && b[at] <= '9' {
					b[at] = '0' + byte(r.IntN(10))
					break
				}
			}
		default:
			b = slices.Replace(b, at, at+gone, []byte(pieces[r.IntN(len(pieces))])...)
		}
		if len(b) == 0 {
			return b
		}
	}
	return b
}

// good are inputs that both read, by kind.
func good(t *testing.T, n *night) map[string][][]byte {
	e := n.election
	f := newForger(t, n)
	oak, _ := e.Unit("oak.1")
	cells := numbers(e, oak, 7)
	plain := e.AppendBody(nil, oak, 7, cells, nil, nil)
	release, err := schemas.AppendRelease(nil, origin, "oak.1", 7, schemas.DigestOf(plain), schemas.ReleaseChecked, "Held against the tape – twice.", signerOf("supervisor.1"), signerOf("supervisor.2"))
	if err != nil {
		t.Fatal(err)
	}
	definition := definition()
	definition.Rules.Outliers = &schemas.OutlierRules{
		History: &schemas.HistoryRule{Percent: 300, Least: 10}, Neighbours: &schemas.NeighbourRule{Percent: 400, Units: 3}, Twins: &schemas.TwinRule{Least: 5},
	}
	definition.Contests[0].Selections[0].Name = `Ann "A" Smith–Jones`
	withRules, err := json.Marshal(definition)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][][]byte{
		"body": {
			plain, e.AppendBody(nil, oak, 7, cells, []bool{true, false}, nil),
			e.AppendBody(nil, oak, 7, cells, nil, &schemas.Correction{Reason: schemas.CorrectRecount, Text: "Zwei gez\u00e4hlt, \"eins\" \u2028 galt."}),
		},
		"envelope":   {envelope(e, "oak.1", 7, cells, nil, "official.oak"), envelope(e, "oak.1", 7, cells, correctly, "supervisor.1", "supervisor.2")},
		"release":    {release},
		"leaf":       {},
		"checkpoint": {n.late[log.CheckpointKey]},
		"definition": {n.definition, withRules},
		"roster":     {roster()},
		"manifest":   {n.late[schemas.ContentKey("manifests", f.latest().Manifest, ".ndjson")]},
		"policy":     {fmt.Appendf(nil, "log %s\n# none yet\ngroup\tx any y\nquorum none\n", keyOf(origin)), fmt.Appendf(nil, "log %s https://x\nquorum none\n", keyOf(origin))},
	}
	kinds := map[leaf.Kind]int{}
	for i := range f.leaves {
		if k := f.decode(i).Kind(); kinds[k] < 4 || i > len(f.leaves)-12 {
			kinds[k]++
			out["leaf"] = append(out["leaf"], f.leaves[i])
		}
	}
	return out
}

func TestJavaScriptReadsWhatGoReadsAndNothingElse(t *testing.T) {
	t.Parallel()
	n := play(t)
	seed, each := uint64(rand.Uint32()), 250
	if s, err := strconv.ParseUint(os.Getenv("SEED"), 10, 64); err == nil {
		seed = s
	}
	if s, err := strconv.Atoi(os.Getenv("EACH")); err == nil {
		each = s
	}
	t.Logf("SEED=%d EACH=%d", seed, each)
	r := rand.New(rand.NewPCG(seed, 1))
	type input struct {
		Kind  string `json:"kind"`
		Bytes []byte `json:"bytes"`
	}
	var inputs []input
	examples := good(t, n)
	for _, kind := range slices.Sorted(func(yield func(string) bool) {
		for k := range examples {
			if !yield(k) {
				return
			}
		}
	}) {
		for _, b := range examples[kind] {
			inputs = append(inputs, input{kind, b})
		}
		for range each {
			inputs = append(inputs, input{kind, spoil(r, examples[kind][r.IntN(len(examples[kind]))])})
		}
	}
	var in, complaints bytes.Buffer
	lines := json.NewEncoder(&in)
	if err := lines.Encode(map[string][]byte{"definition": n.definition}); err != nil {
		t.Fatal(err)
	}
	for _, x := range inputs {
		if err := lines.Encode(x); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), node(t), "--no-warnings", "../prove/read_many.mjs")
	cmd.Stdin, cmd.Stderr = &in, &complaints
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, complaints.String())
	}
	answers := json.NewDecoder(bytes.NewReader(out))
	taken := map[string]int{}
	for _, x := range inputs {
		var answer struct {
			OK   bool   `json:"ok"`
			Said string `json:"said"`
		}
		if err := answers.Decode(&answer); err != nil {
			t.Fatal(err)
		}
		want, err := readers[x.Kind](n.election, x.Bytes)
		switch {
		case (err == nil) != answer.OK:
			t.Errorf("%s: Go says %v, JavaScript %t: %s\n%.2000q", x.Kind, err, answer.OK, answer.Said, x.Bytes)
		case err == nil && x.Kind != "roster" && utf8.ValidString(want) && want != answer.Said:
			t.Errorf("%s: Go says %q, JavaScript %q\n%.2000q", x.Kind, want, answer.Said, x.Bytes)
		case err == nil:
			taken[x.Kind]++
		}
	}
	for kind, examples := range examples {
		if taken[kind] < len(examples) && kind != "policy" {
			t.Errorf("%s: %d of %d read: the good ones are not", kind, taken[kind], len(examples))
		}
	}
	t.Logf("both read %v", taken)
}
