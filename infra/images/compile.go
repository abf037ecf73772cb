package main

import (
	"context"
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"tallystream/service"
)

// program is a static binary for Linux with what it is made of.
type program struct {
	arch      string
	release   service.Release
	binary    []byte
	materials []byte // CycloneDX
}

// flags of the go command that keep the machine out, and linking those of the linker.
var flags = []string{"-trimpath", "-buildvcs=false", "-mod=readonly"}

const linking = "-ldflags=-s -w -buildid= -X tallystream/service.release="

// compile builds a main package of the checkout at source, "" for the one that this
// runs in. Nothing of this machine gets in: no path
// (-trimpath), no state of a checkout (-buildvcs), no C library, and none of the
// environment's own flags.
func compile(ctx context.Context, source, pkg, arch string, release service.Release) (_ *program, err error) {
	dir, err := os.MkdirTemp("", "tallystream-image")
	if err != nil {
		return nil, fmt.Errorf("building %s: %w", pkg, err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // what stays is in the temporary directory
	at := filepath.Join(dir, "program")
	cmd := exec.CommandContext(ctx, "go", slices.Concat([]string{"build", "-o", at}, flags, []string{linking + string(release), pkg})...)
	cmd.Dir = source
	cmd.Env = environment(os.Environ(), arch)
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building %s for %s: %w\n%s", pkg, arch, err, out)
	}
	info, err := buildinfo.ReadFile(at)
	if err != nil {
		return nil, fmt.Errorf("reading what %s is made of: %w", pkg, err)
	}
	p := &program{arch: arch, release: release}
	if p.binary, err = os.ReadFile(at); err != nil {
		return nil, fmt.Errorf("building %s: %w", pkg, err)
	}
	p.materials, err = billOf(info, arch, release)
	return p, err
}

// pinned are variables that change what the go command makes.
var pinned = []string{
	"GOOS=linux", "CGO_ENABLED=0", "GOFLAGS=", "GOEXPERIMENT=", "GODEBUG=", "GOAMD64=v1", "GOARM64=v8.0", "GOFIPS140=off", "GOWORK=off", "GOENV=off",
}

func environment(inherited []string, arch string) []string {
	set := append(slices.Clone(pinned), "GOARCH="+arch)
	out := slices.DeleteFunc(slices.Clone(inherited), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.ContainsFunc(set, func(s string) bool { return strings.HasPrefix(s, name+"=") })
	})
	return append(out, set...)
}
