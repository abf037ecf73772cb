package publish

import (
	"cmp"
	"slices"
	"strconv"

	"tallystream/schemas"
)

// manifest lists what a snapshot names: every document, the exported files as
// of their last writing, and the election as it was opened.
func (s *Sequencer) manifest(p *plan) []schemas.ManifestEntry {
	out := make([]schemas.ManifestEntry, 0, len(p.edition.documents)+8)
	for i := range p.edition.documents {
		d := &p.edition.documents[i]
		out = append(out, schemas.ManifestEntry{
			Name: string(s.catalogue.documents[i].id), Version: d.version,
			Key: schemas.ContentKey("documents", d.hash, ".ndjson"), Hash: d.hash, Bytes: d.size,
		})
	}
	for _, f := range p.remainders {
		out = append(out, f.entry)
	}
	out = append(out, s.shelf.exports.named()...)
	out = append(out, s.shelf.listings.corrections, s.shelf.listings.holds)
	out = append(out, ofBytes(schemas.DefinitionKey, schemas.DefinitionKey, s.cfg.Definition))
	out = append(out, ofBytes(schemas.RosterKey, rosterAt(fileOf(s.powers.roster)), s.powers.roster))
	slices.SortFunc(out, func(a, b schemas.ManifestEntry) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

func ofBytes(name, key string, b []byte) schemas.ManifestEntry {
	return schemas.ManifestEntry{Name: name, Key: key, Hash: schemas.DigestOf(b), Bytes: int64(len(b))}
}

// appendManifest writes the lines that schemas.ParseManifest reads. Names and
// keys are made of identifiers, so nothing needs escaping.
func appendManifest(dst []byte, entries []schemas.ManifestEntry) []byte {
	dst = slices.Grow(dst, 280*len(entries))
	for i := range entries {
		e := &entries[i]
		dst = append(dst, `{"name":"`...)
		dst = append(dst, e.Name...)
		if e.Version != 0 {
			dst = append(dst, `","version":`...)
			dst = strconv.AppendUint(dst, uint64(e.Version), 10)
			dst = append(dst, `,"key":"`...)
		} else {
			dst = append(dst, `","key":"`...)
		}
		dst = append(dst, e.Key...)
		dst = append(dst, `","sha256":"`...)
		dst = append(dst, e.Hash.String()...)
		dst = append(dst, `","bytes":`...)
		dst = strconv.AppendInt(dst, e.Bytes, 10)
		dst = append(dst, "}\n"...)
	}
	return dst
}
