package leaf_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"tallystream/publish/log"
	"tallystream/publish/log/authority"
	"tallystream/publish/log/leaf"
	"tallystream/schemas"
)

var update = flag.Bool("update", false, "write the test vectors anew")

// vectors are what another implementation is held against. Bytes are base64.
type vectors struct {
	Comment     string              `json:"comment"`
	Keys        map[string]string   `json:"keys"`
	Leaves      []leafVector        `json:"leaves"`
	BadLeaves   []leafVector        `json:"badLeaves"`
	Seal        sealVector          `json:"seal"`
	Trees       []treeVector        `json:"trees"`
	Inclusion   []inclusionVector   `json:"inclusion"`
	Consistency []consistencyVector `json:"consistency"`
	TileKeys    []tileVector        `json:"tileKeys"`
	Objects     map[string][]byte   `json:"objects"`
	Checkpoints []checkpointVector  `json:"checkpoints"`
	Proofs      []proofVector       `json:"proofs"`
	Policies    []policyVector      `json:"policies"`
	Authority   authorityVector     `json:"authority"`
}

type (
	leafVector struct {
		Name string `json:"name"`
		Leaf []byte `json:"leaf"`
		Hash []byte `json:"hash,omitempty"`
	}
	sealVector struct {
		Sealed     []byte `json:"sealed"`
		Salt       []byte `json:"salt"`
		Submission []byte `json:"submission"`
	}
	treeVector struct {
		Size int64     `json:"size"`
		Root tlog.Hash `json:"root"`
	}
	inclusionVector struct {
		treeVector
		Index  int64       `json:"index"`
		Hashes []tlog.Hash `json:"hashes"`
	}
	consistencyVector struct {
		treeVector
		Old     int64       `json:"old"`
		OldRoot tlog.Hash   `json:"oldRoot"`
		Hashes  []tlog.Hash `json:"hashes"`
	}
	tileVector struct {
		Level int    `json:"level"`
		N     int64  `json:"n"`
		Width int    `json:"width"`
		Key   string `json:"key"`
	}
	checkpointVector struct {
		Name string `json:"name"`
		Note string `json:"note"`
		Good bool   `json:"good"`
	}
	proofVector struct {
		Name  string `json:"name"`
		Proof string `json:"proof"`
		Leaf  []byte `json:"leaf"`
		Good  bool   `json:"good"`
	}
	// authorityVector is a log's leaves by index, and what is in force when.
	authorityVector struct {
		Leaves []changeVector `json:"leaves"`
		Powers []powersVector `json:"powers"`
	}
	changeVector struct {
		Index int64  `json:"index"`
		Leaf  []byte `json:"leaf"`
		Good  bool   `json:"good"` // if not, the leaf is invalid and changes nothing
		Name  string `json:"name"`
	}
	powersVector struct {
		At       int64          `json:"at"`
		Log      []string       `json:"log"`
		Snapshot []string       `json:"snapshot"`
		Roster   schemas.Digest `json:"roster"`
		Revoked  []string       `json:"revoked"`
	}
	policyVector struct {
		Policy string `json:"policy"`
		Note   string `json:"note"`
		Good   bool   `json:"good"`
	}
)

// shelf is a bucket in memory.
type shelf map[string][]byte

func (s shelf) Get(_ context.Context, key string) ([]byte, error) {
	if b, ok := s[key]; ok {
		return b, nil
	}
	return nil, fmt.Errorf("%s: %w", key, log.ErrAbsent)
}

const vectorTree = 300

func TestVectorsAreWhatThisCodeMakes(t *testing.T) {
	const path = "../testdata/vectors.json"
	b, err := json.MarshalIndent(makeVectors(t), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	b = append(b, '\n')
	if *update {
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(old, b) {
		t.Errorf("%s is not what this code makes: a format changed. If that was meant, give it a new version and run with -update", path)
	}
}

func makeVectors(t *testing.T) *vectors {
	at := time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)
	logSigner, logKey := key(t, origin)
	witnessSigner, witnessPlain := key(t, "witness.example/w1")
	witness, err := log.NewCosigner(witnessSigner, witnessPlain, func() time.Time { return at })
	if err != nil {
		t.Fatal(err)
	}
	_, official := key(t, "leon.example.org/official")
	v := &vectors{
		Comment: "Written by go test ./publish/log/leaf -run Vectors -update. Bytes and hashes are base64. The trees, proofs and objects are of leaves " +
			"\"leaf 0\", \"leaf 1\", ... in ASCII.",
		Keys: map[string]string{"log": logKey, "witness": witness.VerifierKey(), "official": official},
	}
	v.leaves(t)
	v.authority(t)
	edges := v.trees(t)
	v.notes(t, edges, logSigner, witness)
	return v
}

func (v *vectors) leaves(t *testing.T) {
	examples := all(t)
	for _, name := range slices.Sorted(maps.Keys(examples)) {
		b, err := leaf.Append(nil, examples[name])
		if err != nil {
			t.Fatal(err)
		}
		h := tlog.RecordHash(b)
		v.Leaves = append(v.Leaves, leafVector{name, b, h[:]})
		bad := map[string]string{
			name + " of another version": strings.Replace(string(b), "/v1\n", "/v2\n", 1),
			name + " with more behind":   string(b) + "\n",
			name + " cut":                string(b[:len(b)-1]),
		}
		for _, why := range slices.Sorted(maps.Keys(bad)) {
			if _, err := leaf.Decode([]byte(bad[why])); err == nil {
				t.Errorf("%s was read", why)
			}
			v.BadLeaves = append(v.BadLeaves, leafVector{Name: why, Leaf: []byte(bad[why])})
		}
	}
	salt := [leaf.SaltSize]byte{1, 2, 3}
	sub := submission(t, `{"counts":[1,2,3]}`)
	sealed, err := leaf.Seal(sub, salt)
	if err != nil {
		t.Fatal(err)
	}
	inside, err := leaf.Append(nil, sub)
	if err != nil {
		t.Fatal(err)
	}
	outside, err := leaf.Append(nil, sealed)
	if err != nil {
		t.Fatal(err)
	}
	v.Seal = sealVector{outside, salt[:], inside}
}

func (v *vectors) trees(t *testing.T) map[int64]*log.Edge {
	edges, edge := map[int64]*log.Edge{0: {}}, &log.Edge{}
	bucket := shelf{}
	for i := range int64(vectorTree) {
		next, objects, err := edge.Append(fmt.Appendf(nil, "leaf %d", i))
		if err != nil {
			t.Fatal(err)
		}
		edge = next
		edges[i+1] = edge
		for _, o := range objects {
			bucket[o.Key] = o.Body
		}
	}
	for _, n := range []int64{0, 1, 2, 3, 4, 5, 7, 8, 255, 256, 257, 300} {
		tree := edges[n].Tree()
		v.Trees = append(v.Trees, treeVector{n, tree.Hash})
		r := log.NewReader(bucket, tree)
		for _, i := range []int64{0, 1, 2, 6, 200, 255, 256, 299} {
			if i < n {
				p, err := r.Inclusion(t.Context(), i)
				if err != nil {
					t.Fatal(err)
				}
				v.Inclusion = append(v.Inclusion, inclusionVector{treeVector{n, tree.Hash}, i, append([]tlog.Hash{}, p...)})
			}
			if old := i + 1; old <= n {
				p, err := r.Consistency(t.Context(), old)
				if err != nil {
					t.Fatal(err)
				}
				v.Consistency = append(v.Consistency, consistencyVector{treeVector{n, tree.Hash}, old, edges[old].Tree().Hash, append([]tlog.Hash{}, p...)})
			}
		}
	}
	v.Objects = map[string][]byte{}
	for _, name := range []string{"tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1", "tile/entries/000", "tile/entries/001.p/44"} {
		v.Objects[name] = bucket[name]
	}
	for _, tile := range []log.Tile{{Level: 0, N: 0, Width: 256}, {Level: 3, N: 1234067, Width: 8}, {Level: -1, N: 1000, Width: 256}, {Level: -1, N: 999, Width: 1}} {
		v.TileKeys = append(v.TileKeys, tileVector{tile.Level, tile.N, tile.Width, tile.Key()})
	}
	return edges
}

func (v *vectors) notes(t *testing.T, edges map[int64]*log.Edge, signer note.Signer, witness *log.Cosigner) {
	tree := edges[vectorTree].Tree()
	sign := func(signers ...note.Signer) string {
		b, err := (&log.Checkpoint{Origin: origin, Tree: tree}).Sign(signers...)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	alone, both := sign(signer), sign(signer, witness)
	stranger, _ := key(t, "stranger")
	v.Checkpoints = []checkpointVector{
		{"signed", alone, true},
		{"signed and cosigned", both, true},
		{"signed by a stranger", sign(stranger), false},
		{"another size", strings.Replace(alone, "\n300\n", "\n301\n", 1), false},
		{"a leading zero", strings.Replace(alone, "\n300\n", "\n0300\n", 1), false},
		{"a fourth line", strings.Replace(alone, "\n\n", "\nmore\n\n", 1), false},
		{"another origin", strings.Replace(alone, origin, "elsewhere.example", 1), false},
	}
	k, err := log.ParseLogKey(v.Keys["log"])
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range v.Checkpoints {
		if _, _, err := log.OpenCheckpoint([]byte(c.Note), k); (err == nil) != c.Good {
			t.Errorf("checkpoint %s: %v", c.Name, err)
		}
	}
	logLine, witnessLine := "log "+v.Keys["log"]+"\n", "witness w1 "+v.Keys["witness"]+"\n"
	v.Policies = []policyVector{
		{logLine + "quorum none\n", alone, true},
		{logLine + witnessLine + "quorum w1\n", alone, false},
		{logLine + witnessLine + "quorum w1\n", both, true},
		{logLine + witnessLine + "group all all w1\nquorum all\n", both, true},
		{logLine + witnessLine + "group two 2 w1\nquorum two\n", both, false},
		{logLine + "quorum none", alone, false},
	}
	for i, c := range v.Policies {
		p, err := log.ParsePolicy([]byte(c.Policy))
		if err == nil {
			_, err = p.Evaluate([]byte(c.Note))
		}
		if (err == nil) != c.Good {
			t.Errorf("policy %d: %v", i, err)
		}
	}
	v.proofs(t, alone)
}

func (v *vectors) proofs(t *testing.T, checkpoint string) {
	var in inclusionVector
	for _, i := range v.Inclusion {
		if i.Size == vectorTree && i.Index == 200 {
			in = i
		}
	}
	p := &log.Proof{Index: in.Index, Hashes: in.Hashes, Checkpoint: []byte(checkpoint)}
	plain := string(p.Append(nil))
	p.Extra = []byte("anything")
	policy, err := log.ParsePolicy([]byte("log " + v.Keys["log"] + "\nquorum none\n"))
	if err != nil {
		t.Fatal(err)
	}
	right := []byte("leaf 200")
	v.Proofs = []proofVector{
		{"a proof", plain, right, true},
		{"with extra data", string(p.Append(nil)), right, true},
		{"for another leaf", plain, []byte("leaf 201"), false},
		{"of another index", strings.Replace(plain, "index 200", "index 201", 1), right, false},
		{"with an index spelled otherwise", strings.Replace(plain, "index 200", "index 0200", 1), right, false},
		{"of another version", strings.Replace(plain, "@v1", "@v2", 1), right, false},
		{"with a hash less", strings.Replace(plain, string(plain[strings.Index(plain, "index 200\n")+10:][:45]), "", 1), right, false},
	}
	for _, c := range v.Proofs {
		p, err := log.ParseProof([]byte(c.Proof))
		if err == nil {
			_, err = p.Verify(c.Leaf, policy)
		}
		if (err == nil) != c.Good {
			t.Errorf("proof %s: %v", c.Name, err)
		}
	}
}

// authority is a night with two handovers and what root keys refused.
func (v *vectors) authority(t *testing.T) {
	_, root1 := key(t, "root.example/1")
	_, root2 := key(t, "root.example/2")
	_, root3 := key(t, "root.example/3")
	_, old := key(t, origin)
	_, fresh := key(t, origin+"/fresh") // another name, so only for a vector
	_, snapshot := key(t, origin+"/publish")
	_, official := key(t, "leon.example.org/official")
	first, second := schemas.DigestOf([]byte("first roster")), schemas.DigestOf([]byte("second roster"))
	change := func(number uint64, c leaf.Change, role leaf.KeyRole, key string, by ...string) leaf.Leaf {
		s := leaf.NewStatement(leaf.KindKey, origin, number)
		s.Change, s.Key = c, leaf.RoleKey{Role: role, Key: key}
		s.Note = signed(t, s.AppendText(nil), by...)
		return s
	}
	roster := func(number uint64, by ...string) leaf.Leaf {
		s := leaf.NewStatement(leaf.KindRoster, origin, number)
		s.File = leaf.File{Digest: second, Bytes: 13}
		s.Note = signed(t, s.AppendText(nil), by...)
		return s
	}
	r1, r2, r3 := "root.example/1", "root.example/2", "root.example/3"
	a := authority.New()
	for _, c := range []struct {
		index int64
		leaf  leaf.Leaf
		name  string
		good  bool
	}{
		{0, &leaf.Definition{
			Origin: origin, Election: "test", Definition: leaf.File{Digest: first, Bytes: 9}, Roster: leaf.File{Digest: first, Bytes: 12},
			Threshold: 2, Roots: []string{root1, root2, root3}, Keys: []leaf.RoleKey{{Role: leaf.LogKey, Key: old}, {Role: leaf.SnapshotKey, Key: snapshot}},
		}, "the definition", true},
		{5, change(1, leaf.AddKey, leaf.LogKey, fresh, r1), "by one root key of two", false},
		{6, change(2, leaf.AddKey, leaf.LogKey, fresh, r1, r2), "the second change before the first", false},
		{7, change(1, leaf.AddKey, leaf.LogKey, fresh, r1, r3), "a new log key", true},
		{8, change(1, leaf.AddKey, leaf.LogKey, fresh, r1, r3), "the same statement again", false},
		{9, change(2, leaf.RevokeKey, leaf.LogKey, old, r2, r3), "the old one revoked", true},
		{10, change(3, leaf.RevokeKey, leaf.LogKey, fresh, r2, r3), "the last key revoked", false},
		{12, change(3, leaf.RevokeKey, leaf.RosterKey, official, r2, r1), "an official's key revoked", true},
		{20, roster(4, r2, "stranger"), "a roster by one root key and a stranger", false},
		{21, roster(4, r2, r1, "stranger"), "a new roster", true},
	} {
		b, err := leaf.Append(nil, c.leaf)
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Apply(c.index, c.leaf); (err == nil) != c.good {
			t.Errorf("authority leaf %d, %s: %v", c.index, c.name, err)
		}
		v.Authority.Leaves = append(v.Authority.Leaves, changeVector{c.index, b, c.good, c.name})
	}
	for _, at := range []int64{0, 1, 7, 8, 9, 10, 12, 13, 21, 22, 1000} {
		p := a.At(at)
		v.Authority.Powers = append(v.Authority.Powers, powersVector{
			at, p.VerifierKeys(leaf.LogKey), p.VerifierKeys(leaf.SnapshotKey), p.Roster.Digest, append([]string{}, p.RevokedKeys()...),
		})
	}
}
