package main

import (
	"archive/tar"
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"debug/elf"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"golang.org/x/mod/sumdb/note"
)

// whole builds the real program for both architectures, twice, the second time with nothing cached.
var whole = flag.Bool("images", false, "build the whole image twice, the second time without the go command's cache; takes minutes")

const tiny = "tallystream/infra/images/testdata/tiny"

// buildTiny makes a layout with the small program.
func buildTiny(t *testing.T, c command) (v1.ImageIndex, string) {
	t.Helper()
	c.Out, c.Package = filepath.Join(t.TempDir(), "layout"), tiny
	if c.Release == "" {
		c.Release = "r1"
	}
	if c.Arch == nil {
		c.Arch = []string{"amd64"}
	}
	index, err := c.build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return index, c.Out
}

func digestOf(t *testing.T, d interface{ Digest() (v1.Hash, error) }) string {
	t.Helper()
	h, err := d.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return h.String()
}

// elsewhere is a checkout of the small program in another place, by another user's
// habits: what a second builder has.
func elsewhere(t *testing.T) command {
	t.Helper()
	source := filepath.Join(t.TempDir(), "another", "checkout")
	for _, name := range []string{"go.mod", "go.sum", "infra/images/testdata/tiny/main.go"} {
		b, err := os.ReadFile(filepath.Join("../..", name))
		if err != nil {
			t.Fatal(err)
		}
		at := filepath.Join(source, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, v := range map[string]string{"GOFLAGS": "-tags=netgo", "GOAMD64": "v3", "TMPDIR": t.TempDir(), "TZ": "Asia/Tokyo"} {
		t.Setenv(name, v)
	}
	return command{source: source}
}

func TestTwoBuildsAreTheSameBytes(t *testing.T) {
	first, _ := buildTiny(t, command{})
	other, _ := buildTiny(t, command{Release: "r2"})
	second, _ := buildTiny(t, elsewhere(t))
	if a, b := digestOf(t, first), digestOf(t, second); a != b {
		t.Errorf("%s, then %s", a, b)
	}
	if digestOf(t, first) == digestOf(t, other) {
		t.Error("another release has the same digest")
	}
}

// What keeps the machine out of an image is taken away, one by one: each time the
// two builds must differ, or the test above could not fail.
func TestTwoBuildsDifferWithoutEachOfThePrecautions(t *testing.T) {
	for name, take := range map[string]func() (back func()){
		"paths are trimmed": func() func() {
			kept := flags
			flags = slices.DeleteFunc(slices.Clone(flags), func(f string) bool { return f == "-trimpath" })
			return func() { flags = kept }
		},
		"the environment is pinned": func() func() {
			kept := pinned
			pinned = slices.DeleteFunc(slices.Clone(pinned), func(v string) bool { return strings.HasPrefix(v, "GOFLAGS=") })
			return func() { pinned = kept }
		},
		"times are fixed": func() func() {
			kept := epoch
			epoch = time.Now()
			return func() { epoch = kept }
		},
	} {
		t.Run(name, func(t *testing.T) {
			back := take()
			defer back()
			first, _ := buildTiny(t, command{})
			if name == "times are fixed" {
				epoch = epoch.Add(time.Hour)
			}
			second, _ := buildTiny(t, elsewhere(t))
			if a, b := digestOf(t, first), digestOf(t, second); a == b {
				t.Errorf("both are %s", a)
			}
		})
	}
}

func TestALayerDoesNotDependOnTheOrderInWhichFilesAreNamed(t *testing.T) {
	files := []file{{"b/2", 0o444, []byte("2")}, {"a", 0o555, []byte("1")}, {"b/1/x", 0o444, []byte("3")}}
	first, err := layerOf(files)
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(files)
	second, err := layerOf(files)
	if err != nil {
		t.Fatal(err)
	}
	if digestOf(t, first) != digestOf(t, second) {
		t.Error("the digest follows the order")
	}
}

// TestTheWholeImageIsReproducible is the claim itself; the CI runs it.
func TestTheWholeImageIsReproducible(t *testing.T) {
	if !*whole {
		t.Skip("builds the whole program four times: go test ./infra/images -images -timeout 60m")
	}
	c := command{Out: filepath.Join(t.TempDir(), "layout"), Package: "tallystream", Release: "r1", Arch: []string{"amd64", "arm64"}}
	first, err := c.build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cache := filepath.Join(t.TempDir(), "cache")
	t.Setenv("GOCACHE", cache)
	t.Setenv("TMPDIR", t.TempDir())
	c.Out = filepath.Join(t.TempDir(), "again")
	second, err := c.build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Log(digestOf(t, first))
	if a, b := digestOf(t, first), digestOf(t, second); a != b {
		t.Errorf("%s, then %s", a, b)
	}
	for _, image := range imagesOf(t, second) {
		checkImage(t, image)
	}
}

func imagesOf(t *testing.T, index v1.ImageIndex) []v1.Image {
	t.Helper()
	m, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var out []v1.Image
	for _, d := range m.Manifests {
		image, err := index.Image(d.Digest)
		if err != nil {
			t.Fatal(err)
		}
		config, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if d.Platform == nil || d.Platform.Architecture != config.Architecture || d.Platform.OS != "linux" {
			t.Errorf("%s is announced as %v", config.Architecture, d.Platform)
		}
		out = append(out, image)
	}
	return out
}

func TestTheIndexHasBothArchitecturesAndTheLayoutIsWellFormed(t *testing.T) {
	index, dir := buildTiny(t, command{Arch: []string{"amd64", "arm64"}})
	read, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(read); err != nil { // every digest and size, read back from disk
		t.Error(err)
	}
	outer, err := read.IndexManifest()
	if err != nil || len(outer.Manifests) != 1 || outer.Manifests[0].Digest.String() != digestOf(t, index) || outer.Manifests[0].Annotations[refName] != "r1" {
		t.Errorf("the layout names %+v, %v", outer, err)
	}
	var arches []string
	machines := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}
	for _, image := range imagesOf(t, index) {
		config := checkImage(t, image)
		arches = append(arches, config.Architecture)
		binary, err := elf.NewFile(bytes.NewReader(contents(t, image)[programPath]))
		if err != nil || binary.Machine != machines[config.Architecture] {
			t.Errorf("the program for %s is for %v, %v", config.Architecture, binary.Machine, err)
			continue
		}
		if libraries, err := binary.ImportedLibraries(); err != nil || len(libraries) > 0 || binary.Section(".interp") != nil {
			t.Errorf("the program is not static: %v, %v", libraries, err)
		}
		beside, err := os.ReadFile(dir + "." + config.Architecture + ".cdx.json")
		if err != nil || !bytes.Equal(beside, contents(t, image)[materialsPath]) {
			t.Errorf("the bill of materials beside the image is another than the one in it: %v", err)
		}
	}
	if !slices.Equal(arches, []string{"amd64", "arm64"}) {
		t.Errorf("architectures %v", arches)
	}
}

// checkImage holds what every image must be.
func checkImage(t *testing.T, image v1.Image) *v1.ConfigFile {
	t.Helper()
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c := config.Config
	if c.User != "65532:65532" || !slices.Equal(c.Entrypoint, []string{"/tallystream"}) || c.WorkingDir != "/" || c.StopSignal != "SIGTERM" {
		t.Errorf("user %q, entry point %v, directory %q, signal %q", c.User, c.Entrypoint, c.WorkingDir, c.StopSignal)
	}
	if len(c.Env) != 0 || len(c.Volumes) != 0 || len(c.ExposedPorts) != 0 || c.Shell != nil {
		t.Errorf("environment %v, volumes %v, ports %v, shell %v: want none", c.Env, c.Volumes, c.ExposedPorts, c.Shell)
	}
	if c.Labels["org.opencontainers.image.version"] != "r1" || c.Labels["org.opencontainers.image.licenses"] != "Apache-2.0" {
		t.Errorf("labels %v", c.Labels)
	}
	if !config.Created.Equal(epoch) {
		t.Errorf("created %v", config.Created)
	}
	for _, h := range config.History {
		if !h.Created.Equal(epoch) {
			t.Errorf("history %+v", h)
		}
	}
	if m, err := image.Manifest(); err != nil || m.MediaType != types.OCIManifestSchema1 || m.Config.MediaType != types.OCIConfigJSON {
		t.Errorf("media types %+v, %v", m, err)
	}
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		checkLayer(t, l)
	}
	return config
}

func checkLayer(t *testing.T, l v1.Layer) {
	t.Helper()
	last := ""
	each(t, l, func(h *tar.Header, _ []byte) {
		if h.Name <= last {
			t.Errorf("%s stands after %s", h.Name, last)
		}
		last = h.Name
		if !h.ModTime.Equal(epoch) || !h.AccessTime.IsZero() || !h.ChangeTime.IsZero() {
			t.Errorf("%s has times %v %v %v", h.Name, h.ModTime, h.AccessTime, h.ChangeTime)
		}
		if h.Uid != 0 || h.Gid != 0 || h.Uname != "" || h.Mode&0o7222 != 0 {
			t.Errorf("%s: %d:%d %q mode %o: want root's, and nobody's to write", h.Name, h.Uid, h.Gid, h.Uname, h.Mode)
		}
		if h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeDir {
			t.Errorf("%s is a %c", h.Name, h.Typeflag)
		}
		if h.Typeflag == tar.TypeReg && h.Mode&0o111 != 0 && h.Name != programPath {
			t.Errorf("%s can be executed", h.Name)
		}
	})
}

func each(t *testing.T, l v1.Layer, f func(*tar.Header, []byte)) {
	t.Helper()
	r, err := l.Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		f(h, body)
	}
}

// contents are the files of an image.
func contents(t *testing.T, image v1.Image) map[string][]byte {
	t.Helper()
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{}
	for _, l := range layers {
		each(t, l, func(h *tar.Header, body []byte) {
			if h.Typeflag == tar.TypeReg {
				out[h.Name] = body
			}
		})
	}
	return out
}

func TestTheImageHoldsTheProgramAndNothingToRunBesides(t *testing.T) {
	index, _ := buildTiny(t, command{})
	var names []string
	for name := range contents(t, imagesOf(t, index)[0]) {
		names = append(names, name)
	}
	slices.Sort(names)
	want := []string{"etc/group", "etc/passwd", rootsPath, programPath, materialsPath}
	if !slices.Equal(names, want) {
		t.Errorf("%v, want %v", names, want)
	}
}

func TestTheBillOfMaterialsNamesWhatTheLinkerTook(t *testing.T) {
	index, _ := buildTiny(t, command{})
	var b bill
	if err := json.Unmarshal(contents(t, imagesOf(t, index)[0])[materialsPath], &b); err != nil {
		t.Fatal(err)
	}
	if b.Format != "CycloneDX" || b.Spec != "1.6" || b.Version != 1 || b.Metadata.Component.Version != "r1" {
		t.Errorf("%+v", b)
	}
	found := map[string]component{}
	for _, c := range b.Components {
		if _, twice := found[c.Name]; twice || c.Version == "" || c.Ref != c.PURL {
			t.Errorf("component %+v", c)
		}
		found[c.Name] = c
	}
	mod := found["golang.org/x/mod"]
	if !strings.HasPrefix(mod.PURL, "pkg:golang/golang.org/x/mod@v") || len(mod.Properties) != 1 || !strings.HasPrefix(mod.Properties[0].Value, "h1:") {
		t.Errorf("x/mod: %+v", mod)
	}
	if found["std"].Version == "" || len(found) != 2 {
		t.Errorf("components %v: want the standard library and x/mod alone, though go.mod has more", found)
	}
}

func TestOnlyAuthoritiesGetIntoTheTrustStore(t *testing.T) {
	if err := checkRoots(amazonRoots); err != nil {
		t.Error(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(amazonRoots)
	n := 0
	for rest := amazonRoots; ; n++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		if c.NotAfter.Before(time.Date(2032, 1, 1, 0, 0, 0, 0, time.UTC)) {
			t.Errorf("%s ends at %v", c.Subject, c.NotAfter)
		}
		if _, err := c.Verify(x509.VerifyOptions{Roots: pool, CurrentTime: c.NotAfter.Add(-time.Hour)}); err != nil {
			t.Errorf("%s: %v", c.Subject, err)
		}
	}
	if n != 5 {
		t.Errorf("%d authorities, want the five of Amazon Trust Services", n)
	}
	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("secret")})
	for name, bad := range map[string][]byte{"nothing": nil, "no PEM": []byte("hello"), "a key": append(slices.Clone(amazonRoots), key...)} {
		if err := checkRoots(bad); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAnElectionThatCannotBeOpenedGetsIntoNoImage(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "definition.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := command{Out: filepath.Join(t.TempDir(), "layout"), Package: tiny, Release: "r1", Arch: []string{"amd64"}, Election: dir}
	if _, err := c.build(t.Context()); err == nil {
		t.Error("it was built")
	}
	if _, err := os.Stat(c.Out); err == nil {
		t.Error("a layout was begun")
	}
}

func TestALayoutIsNotBuiltOverAnother(t *testing.T) {
	_, dir := buildTiny(t, command{})
	c := command{Out: dir, Package: tiny, Release: "r1", Arch: []string{"amd64"}}
	if _, err := c.build(t.Context()); err == nil {
		t.Error("it was built")
	}
}

func TestAnElectionIsALayerOfItsOwn(t *testing.T) {
	p := program{arch: "arm64", release: "r1", binary: []byte("program"), materials: []byte("{}\n")}
	plain, err := assemble(p, extras{roots: amazonRoots})
	if err != nil {
		t.Fatal(err)
	}
	with, err := assemble(p, extras{roots: amazonRoots, definition: []byte("d"), roster: []byte("r")})
	if err != nil {
		t.Fatal(err)
	}
	checkImage(t, with)
	if c := contents(t, with); string(c["election/definition.json"]) != "d" || string(c["election/roster.json"]) != "r" {
		t.Errorf("the election in the image: %q", c["election/definition.json"])
	}
	if contents(t, with)["election/roots.json"] != nil {
		t.Error("root keys in the image of an election without any")
	}
	rooted, err := assemble(p, extras{roots: amazonRoots, definition: []byte("d"), roster: []byte("r"), rootKeys: []byte("k")})
	if err != nil {
		t.Fatal(err)
	}
	if c := contents(t, rooted); string(c["election/roots.json"]) != "k" {
		t.Errorf("the root keys in the image: %q", c["election/roots.json"])
	}
	before, _ := plain.Layers()
	after, _ := with.Layers()
	if len(after) != len(before)+1 {
		t.Fatalf("%d layers, then %d", len(before), len(after))
	}
	for i := range before {
		if digestOf(t, before[i]) != digestOf(t, after[i]) {
			t.Errorf("layer %d is another with an election", i)
		}
	}
}

// The image is public: only public halves of root keys go into it.
func TestRootKeysOfAnElectionArePublicHalves(t *testing.T) {
	private, public, err := note.GenerateKey(rand.Reader, "example.org/root.1")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		text string
		good bool
	}{
		"one of one":       {`{"threshold":1,"roots":["` + public + `"]}`, true},
		"a private key":    {`{"threshold":1,"roots":["` + private + `"]}`, false},
		"beyond all":       {`{"threshold":2,"roots":["` + public + `"]}`, false},
		"another document": {`{"threshold":1,"keys":[]}`, false},
	} {
		dir := t.TempDir()
		if got, err := rootKeysOf(dir); got != nil || err != nil {
			t.Errorf("without roots.json: %q, %v", got, err)
		}
		if err := os.WriteFile(filepath.Join(dir, "roots.json"), []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := rootKeysOf(dir)
		if (err == nil) != c.good || c.good && string(got) != c.text {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if err != nil && strings.Contains(err.Error(), private) {
			t.Errorf("%s: the error repeats the private key", name)
		}
	}
}
