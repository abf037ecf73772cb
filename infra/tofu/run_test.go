package tofu_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"tallystream/infra/tofu"
)

var runTofu = flag.Bool("tofu", false, "run tofu (or terraform) validate and test; a minute or two, and the first time it fetches Go modules")

const providerVersion = "6.47.1"

// TestTofuItself lets the real program look at the modules, with a provider that
// knows the schema and nothing else (schemaprovider).
func TestTofuItself(t *testing.T) {
	if !*runTofu {
		t.Skip("not asked for: go test ./infra/tofu -tofu -timeout 15m")
	}
	program := findProgram(t)
	ctx, cancel := context.WithTimeout(t.Context(), 14*time.Minute)
	defer cancel()
	dir := copyTree(t)
	environment := mirror(ctx, t)
	run := func(arguments ...string) {
		t.Helper()
		c := exec.CommandContext(ctx, program, arguments...)
		c.Dir, c.Env = filepath.Join(dir, tofu.Example), environment
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%s %v: %v\n%s", program, arguments, err, out)
		} else {
			t.Logf("%s %v\n%s", filepath.Base(program), arguments, bytes.TrimSpace(out))
		}
	}
	run("fmt", "-check", "-recursive", "-no-color", dir)
	run("init", "-backend=false", "-input=false", "-no-color")
	run("validate", "-no-color")
	run("test", "-no-color")
}

func findProgram(t *testing.T) string {
	for _, name := range []string{"tofu", "terraform"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skip("neither tofu nor terraform is on this machine")
	return ""
}

// copyTree keeps what the program writes out of the sources.
func copyTree(t *testing.T) string {
	dir := t.TempDir()
	for _, top := range []string{"modules", "environments"} {
		tree, err := fs.Sub(tofu.Files, top)
		if err == nil {
			err = os.CopyFS(filepath.Join(dir, top), tree)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// mirror builds the provider, lays it where the program looks instead of a
// registry, and returns the environment that says so.
func mirror(ctx context.Context, t *testing.T) []string {
	dir := t.TempDir()
	source, err := filepath.Abs("schemaprovider")
	if err != nil {
		t.Fatal(err)
	}
	fetch := exec.CommandContext(ctx, "go", "mod", "download")
	fetch.Dir = source
	if out, err := fetch.CombinedOutput(); err != nil {
		t.Skipf("the provider's Go modules cannot be fetched: %v: %s", err, out)
	}
	binary := filepath.Join(dir, "terraform-provider-aws")
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, ".")
	build.Dir = source
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the provider: %v\n%s", err, out)
	}
	platform := runtime.GOOS + "_" + runtime.GOARCH
	for _, registry := range []string{"registry.opentofu.org", "registry.terraform.io"} {
		place := filepath.Join(dir, registry, "hashicorp/aws", providerVersion, platform)
		if err := errors.Join(os.MkdirAll(place, 0o755), os.Link(binary, filepath.Join(place, "terraform-provider-aws_v"+providerVersion))); err != nil {
			t.Fatal(err)
		}
	}
	config := filepath.Join(dir, "cli.hcl")
	text := fmt.Sprintf("disable_checkpoint = true\nprovider_installation {\n  filesystem_mirror {\n    path = %q\n  }\n}\n", dir)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	schema, err := filepath.Abs(cutPath)
	if err != nil {
		t.Fatal(err)
	}
	return append(os.Environ(), "TF_CLI_CONFIG_FILE="+config, "TALLYSTREAM_PROVIDER_SCHEMA="+schema, "TF_IN_AUTOMATION=1")
}
