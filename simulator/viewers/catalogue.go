package viewers

import (
	"context"
	"fmt"

	"tallystream/schemas"
)

// documentsOf lists the live documents that a bucket's newest snapshot names. Its
// signature is not checked: the list only says what to ask for.
func documentsOf(ctx context.Context, bucket string) ([]schemas.DocumentID, error) {
	f := newFetcher(bucket)
	raw, err := f.get(ctx, schemas.LatestKey)
	if err != nil {
		return nil, fmt.Errorf("listing documents (or name some with --document): %w", err)
	}
	s, err := schemas.PeekSnapshot(raw)
	if err != nil {
		return nil, fmt.Errorf("listing documents: %w", err)
	}
	raw, err = f.get(ctx, schemas.ContentKey("manifests", s.Manifest, ".ndjson"))
	if err != nil {
		return nil, fmt.Errorf("listing documents: %w", err)
	}
	entries, err := schemas.ParseManifest(raw)
	if err != nil {
		return nil, fmt.Errorf("listing documents: %w", err)
	}
	var out []schemas.DocumentID
	for _, e := range entries {
		if g, err := schemas.ParseDocumentID(e.Name); err == nil {
			out = append(out, g) // the others are files
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("listing documents: snapshot %d has none", s.Number)
	}
	return out, nil
}
