package main

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// functionNames are the Lambda functions of infra/functions, and functionArch the
// architecture that infra/tofu runs them on.
var functionNames = []string{"latest", "notify", "verify"}

const functionArch = "arm64"

// zipEpoch is the earliest time that an archive can hold.
var zipEpoch = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

// archive is what Lambda runs: one static program with the name that
// provided.al2023 looks for.
type archive struct {
	name string
	body []byte
}

// digest is as Lambda and OpenTofu write it.
func (a archive) digest() string {
	sum := sha256.Sum256(a.body)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// archives builds the functions, and writes archive and bill of materials of each.
func (c *command) archives(ctx context.Context) ([]archive, error) {
	release, err := c.release(ctx)
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(c.Functions, 0o755); err != nil {
		return nil, fmt.Errorf("making the directory of the functions: %w", err)
	}
	var out []archive
	for _, name := range functionNames {
		p, err := compile(ctx, c.source, "tallystream/infra/functions/"+name+"/bootstrap", functionArch, release)
		if err != nil {
			return nil, err
		}
		body, err := zipOf(p.binary)
		if err != nil {
			return nil, fmt.Errorf("packing the function %s: %w", name, err)
		}
		at := filepath.Join(c.Functions, name)
		if err := os.WriteFile(at+".zip", body, 0o644); err != nil {
			return nil, fmt.Errorf("writing the function %s: %w", name, err)
		}
		if err := os.WriteFile(at+".cdx.json", p.materials, 0o644); err != nil {
			return nil, fmt.Errorf("writing the bill of materials of %s: %w", name, err)
		}
		out = append(out, archive{name, body})
	}
	return out, nil
}

// zipOf packs a program as `bootstrap`, which everybody may run and nobody write.
func zipOf(binary []byte) ([]byte, error) {
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	h := &zip.FileHeader{Name: "bootstrap", Method: zip.Deflate, Modified: zipEpoch}
	h.SetMode(0o555)
	f, err := w.CreateHeader(h)
	if err != nil {
		return nil, err
	}
	if _, err := f.Write(binary); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// printArchives prints `code` as the variable functions of infra/tofu wants it. The
// version is S3's, which is known when the archive is there.
func printArchives(w io.Writer, all []archive) error {
	b := []byte("code = {\n")
	for _, a := range all {
		b = fmt.Appendf(b, "  %s = { key = %q, version = \"\", sha256 = %q }\n", a.name, a.name+".zip", a.digest())
	}
	_, err := w.Write(append(b, "}\n"...))
	return err
}
