package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"

	"github.com/alecthomas/kong"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"

	"tallystream/publish"
	"tallystream/service"
)

// command is `go run ./infra/images`.
type command struct {
	Out       string   `help:"New directory for the OCI layout; beside it come a bill of materials for each architecture. Empty: no image." type:"path"`
	Functions string   `help:"New directory for the archives of the Lambda functions; what OpenTofu wants to know of them is printed. Empty: none." type:"path"`
	Release   string   `help:"Name of the release. Empty: the commit, which must be clean."`
	Arch      []string `help:"Architectures." default:"amd64,arm64" enum:"amd64,arm64"`
	Election  string   `help:"Directory whose definition.json, roster.json and, where it has one, roots.json go to /election, as the ECS tasks expect." type:"existingdir"`
	Roots     string   `help:"PEM file of certificate authorities to trust in place of Amazon's." type:"existingfile"`
	Package   string   `help:"Main package to build." default:"tallystream"`

	source string // directory of the checkout; "": this one
}

func main() {
	var c command
	kctx := kong.Parse(&c, kong.Description("Build what Tallystream runs from: the OCI image, without a daemon, whose digest is printed, and the archives of the Lambda functions."))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	kctx.BindTo(ctx, (*context.Context)(nil))
	kctx.FatalIfErrorf(kctx.Run())
}

// Run builds what is asked for.
func (c *command) Run(ctx context.Context) error {
	if c.Out == "" && c.Functions == "" {
		return errors.New("nothing to build: give --out, --functions or both")
	}
	if c.Out != "" {
		if err := c.printImage(ctx); err != nil {
			return err
		}
	}
	if c.Functions == "" {
		return nil
	}
	archives, err := c.archives(ctx)
	if err != nil {
		return err
	}
	return printArchives(os.Stdout, archives)
}

// printImage builds the image and prints "sha256:...".
func (c *command) printImage(ctx context.Context) error {
	index, err := c.build(ctx)
	if err != nil {
		return err
	}
	digest, err := index.Digest()
	if err != nil {
		return fmt.Errorf("computing the digest: %w", err)
	}
	_, err = fmt.Println(digest)
	return err
}

func (c *command) build(ctx context.Context) (v1.ImageIndex, error) {
	release, err := c.release(ctx)
	if err != nil {
		return nil, err
	}
	extra, err := c.extra()
	if err != nil {
		return nil, err
	}
	// A layout only grows: what an earlier build left would still be in it.
	if err := os.Mkdir(c.Out, 0o755); err != nil {
		return nil, fmt.Errorf("making the layout: %w", err)
	}
	var images []built
	for _, arch := range c.Arch {
		program, err := compile(ctx, c.source, c.Package, arch, release)
		if err != nil {
			return nil, err
		}
		image, err := assemble(*program, extra)
		if err != nil {
			return nil, fmt.Errorf("assembling for %s: %w", arch, err)
		}
		if err := os.WriteFile(fmt.Sprintf("%s.%s.cdx.json", filepath.Clean(c.Out), arch), program.materials, 0o644); err != nil {
			return nil, fmt.Errorf("writing the bill of materials: %w", err)
		}
		images = append(images, built{arch, image})
	}
	index := indexOf(images, release)
	path, err := layout.Write(c.Out, empty.Index)
	if err != nil {
		return nil, fmt.Errorf("writing the layout: %w", err)
	}
	if err := path.AppendIndex(index, layout.WithAnnotations(map[string]string{refName: string(release)})); err != nil {
		return nil, fmt.Errorf("writing the layout: %w", err)
	}
	return index, nil
}

// release is the flag's, or the commit's.
func (c *command) release(ctx context.Context) (service.Release, error) {
	if c.Release != "" {
		return service.ParseRelease(c.Release)
	}
	out, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*").Output()
	if err != nil {
		return "", fmt.Errorf("asking git for the commit: %w (or give --release)", err)
	}
	commit := strings.TrimSpace(string(out))
	if strings.HasSuffix(commit, "-dirty") {
		return "", fmt.Errorf("%s: there are changes that are not committed, and nobody could build this again; commit them or give --release", commit)
	}
	return service.ParseRelease(commit)
}

// extra reads what the flags add.
func (c *command) extra() (extras, error) {
	x := extras{roots: amazonRoots}
	var err error
	if c.Roots != "" {
		if x.roots, err = os.ReadFile(c.Roots); err != nil {
			return x, fmt.Errorf("reading the certificate authorities: %w", err)
		}
	}
	if c.Election == "" {
		return x, nil
	}
	data := service.Data{Dir: c.Election}
	opened, err := data.Open() // so that no image is made with an election that cannot be opened
	if err != nil {
		return x, err
	}
	x.definition, x.roster = opened.Definition, opened.Roster
	x.rootKeys, err = rootKeysOf(c.Election)
	return x, err
}

// rootKeysOf reads the root keys of an election, public halves alone; nil where
// it has none.
func rootKeysOf(dir string) ([]byte, error) {
	name := filepath.Join(dir, "roots.json")
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the election's root keys: %w", err)
	}
	if _, err := publish.ReadRoots(name); err != nil { // a private key is none that it takes
		return nil, err
	}
	return b, nil
}
