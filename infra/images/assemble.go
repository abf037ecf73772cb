package main

import (
	"archive/tar"
	"bytes"
	"crypto/x509"
	_ "embed"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"tallystream/service"
)

// amazonRoots are the authorities of Amazon Trust Services, as Mozilla's list
// has them: the only ones that AWS's endpoints need.
//
//go:embed roots.pem
var amazonRoots []byte

// Who runs in the image, as the ECS tasks demand: nobody, and without a shell.
const (
	user   = "65532:65532"
	passwd = "root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n"
	group  = "root:x:0:\nnonroot:x:65532:\n"
)

const (
	programPath   = "tallystream"
	rootsPath     = "etc/ssl/certs/ca-certificates.crt"
	materialsPath = "usr/share/sbom/tallystream.cdx.json"
	electionPath  = "election"
	refName       = "org.opencontainers.image.ref.name"
)

// epoch is the time of everything.
var epoch = time.Unix(0, 0).UTC()

// extras are what stands beside the program.
type extras struct {
	roots              []byte // PEM
	definition, roster []byte // nil: no election
	rootKeys           []byte // roots.json of the election; nil: it has none
}

// file is one in a layer. All belong to root, so that the program cannot change them.
type file struct {
	path string
	mode int64
	body []byte
}

// assemble makes the image of a program. Layers go from what changes seldom to
// what changes often, so that a new release pulls one.
func assemble(p program, x extras) (v1.Image, error) {
	if err := checkRoots(x.roots); err != nil {
		return nil, err
	}
	contents := []struct {
		what  string
		files []file
	}{
		{"users and certificate authorities", []file{{"etc/passwd", 0o444, []byte(passwd)}, {"etc/group", 0o444, []byte(group)}, {rootsPath, 0o444, x.roots}}},
		{"program and bill of materials", []file{{programPath, 0o555, p.binary}, {materialsPath, 0o444, p.materials}}},
	}
	if x.definition != nil {
		election := []file{{electionPath + "/definition.json", 0o444, x.definition}, {electionPath + "/roster.json", 0o444, x.roster}}
		if x.rootKeys != nil {
			election = append(election, file{electionPath + "/roots.json", 0o444, x.rootKeys})
		}
		contents = append(contents, struct {
			what  string
			files []file
		}{"election", election})
	}
	var layers []mutate.Addendum
	for _, c := range contents {
		layer, err := layerOf(c.files)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.what, err)
		}
		layers = append(layers, mutate.Addendum{Layer: layer, MediaType: types.OCILayer, History: v1.History{CreatedBy: c.what, Created: v1.Time{Time: epoch}}})
	}
	image, err := mutate.ConfigFile(empty.Image, configOf(p))
	if err != nil {
		return nil, err
	}
	image = mutate.ConfigMediaType(mutate.MediaType(image, types.OCIManifestSchema1), types.OCIConfigJSON)
	return mutate.Append(image, layers...)
}

func configOf(p program) *v1.ConfigFile {
	return &v1.ConfigFile{
		Architecture: p.arch, OS: "linux", Created: v1.Time{Time: epoch}, RootFS: v1.RootFS{Type: "layers"},
		Config: v1.Config{
			User: user, Entrypoint: []string{"/" + programPath}, Cmd: []string{"--help"}, WorkingDir: "/", StopSignal: "SIGTERM",
			Labels: labelsOf(p.release),
		},
	}
}

// labelsOf are those of the OCI image specification (annotations.md).
func labelsOf(r service.Release) map[string]string {
	return map[string]string{
		"org.opencontainers.image.title":       "tallystream",
		"org.opencontainers.image.description": "A real-time election results pipeline",
		"org.opencontainers.image.licenses":    "Apache-2.0",
		"org.opencontainers.image.version":     string(r),
	}
}

// checkRoots refuses what would leave the program without a way to AWS, or
// would put a private key into a public image.
func checkRoots(pemBytes []byte) error {
	n := 0
	for rest := pemBytes; ; n++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return fmt.Errorf("certificate authorities: a %s stands among them", block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return fmt.Errorf("certificate authority %d: %w", n+1, err)
		}
		if !c.IsCA {
			return fmt.Errorf("certificate authority %d, %s, is none", n+1, c.Subject)
		}
	}
	if n == 0 {
		return errors.New("certificate authorities: there is none")
	}
	return nil
}

// layerOf makes a layer with the files and the directories above them, sorted.
func layerOf(files []file) (v1.Layer, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, h := range headersOf(files) {
		if err := w.WriteHeader(&h.Header); err != nil {
			return nil, err
		}
		if _, err := w.Write(h.body); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	// The size of what goes over the wire matters more than the time of a build.
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(out.Bytes())), nil },
		tarball.WithMediaType(types.OCILayer), tarball.WithCompressionLevel(9), tarball.WithCompressedCaching)
}

type entry struct {
	tar.Header
	body []byte
}

func headersOf(files []file) []entry {
	entries := map[string]entry{}
	for _, f := range files {
		entries[f.path] = entry{tar.Header{Typeflag: tar.TypeReg, Name: f.path, Mode: f.mode, Size: int64(len(f.body)), ModTime: epoch, Format: tar.FormatPAX}, f.body}
		for d := path.Dir(f.path); d != "."; d = path.Dir(d) {
			entries[d] = entry{Header: tar.Header{Typeflag: tar.TypeDir, Name: d + "/", Mode: 0o555, ModTime: epoch, Format: tar.FormatPAX}}
		}
	}
	sorted := make([]entry, 0, len(entries))
	for _, e := range entries {
		sorted = append(sorted, e)
	}
	slices.SortFunc(sorted, func(a, b entry) int { return strings.Compare(a.Name, b.Name) })
	return sorted
}

// built is the image for one architecture.
type built struct {
	arch  string
	image v1.Image
}

// indexOf is what a registry hands out by architecture.
func indexOf(images []built, r service.Release) v1.ImageIndex {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, b := range images {
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: b.image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: b.arch}},
		})
	}
	return mutate.Annotations(index, labelsOf(r)).(v1.ImageIndex)
}
