package main

import (
	"archive/zip"
	"bytes"
	"debug/elf"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestAnArchiveIsTheSameBytesEachTimeAndHasOneProgramInIt(t *testing.T) {
	p, err := compile(t.Context(), "", tiny, functionArch, "r1")
	if err != nil {
		t.Fatal(err)
	}
	first, err := zipOf(p.binary)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("TZ", "Asia/Tokyo")
	second, err := zipOf(bytes.Clone(p.binary))
	if err != nil || !bytes.Equal(first, second) {
		t.Errorf("two archives of one program differ: %v", err)
	}
	r, err := zip.NewReader(bytes.NewReader(first), int64(len(first)))
	if err != nil || len(r.File) != 1 {
		t.Fatalf("%v, %d files", err, len(r.File))
	}
	f := r.File[0]
	if f.Name != "bootstrap" || f.Mode().Perm() != 0o555 || !f.Modified.Equal(zipEpoch) || len(f.Comment) > 0 {
		t.Errorf("%s %v of %v", f.Name, f.Mode(), f.Modified)
	}
	body, err := f.Open()
	if err != nil {
		t.Fatal(err)
	}
	binary, err := io.ReadAll(body)
	if err != nil || !bytes.Equal(binary, p.binary) {
		t.Errorf("%d bytes come back of %d: %v", len(binary), len(p.binary), err)
	}
	if e, err := elf.NewFile(bytes.NewReader(binary)); err != nil || e.Machine != elf.EM_AARCH64 {
		t.Errorf("it is no program for %s: %v", functionArch, err)
	}
}

// Lambda takes 50 MB, and what is deployed runs on the architecture that is built.
func TestTheFunctionsAreThoseOfTheDeployment(t *testing.T) {
	text, err := os.ReadFile("../tofu/modules/region/functions.tf")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), `["`+functionArch+`"]`) {
		t.Errorf("infra/tofu does not run functions on %s", functionArch)
	}
	mains, err := filepath.Glob("../functions/*/bootstrap/main.go")
	if err != nil {
		t.Fatal(err)
	}
	var written []string
	for _, m := range mains {
		written = append(written, filepath.Base(filepath.Dir(filepath.Dir(m))))
	}
	if slices.Sort(written); !slices.Equal(written, functionNames) {
		t.Errorf("functions %v are written, %v are built", written, functionNames)
	}
}

func TestWhatIsPrintedIsWhatOpenTofuTakes(t *testing.T) {
	var out bytes.Buffer
	if err := printArchives(&out, []archive{{"verify", []byte("x")}}); err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`verify = \{ key = "verify.zip", version = "", sha256 = "[A-Za-z0-9+/]{43}=" \}`).MatchString(out.String()) {
		t.Errorf("%s", out.String())
	}
}

// TestTheFunctionsAreReproducible builds the real ones twice, the second time with nothing cached.
func TestTheFunctionsAreReproducible(t *testing.T) {
	if !*whole {
		t.Skip("builds the functions twice: go test ./infra/images -images -timeout 60m")
	}
	build := func(name string) []archive {
		c := command{Functions: filepath.Join(t.TempDir(), name), Release: "r1"}
		out, err := c.archives(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	first := build("first")
	t.Setenv("GOCACHE", t.TempDir())
	for i, a := range build("again") {
		if a.digest() != first[i].digest() {
			t.Errorf("%s: %s, then %s", a.name, first[i].digest(), a.digest())
		}
		if len(a.body) > 50<<20 {
			t.Errorf("%s has %d bytes, Lambda takes 50 MB", a.name, len(a.body))
		}
	}
}
