package faultsim

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"tallystream/schemas"
)

// checkpointed reads a checkpoint without its signature: how many leaves the
// log has, and its root.
func checkpointed(b []byte) (size uint64, root schemas.Digest, err error) {
	lines := strings.Split(string(b), "\n")
	if len(lines) < 4 || lines[3] != "" {
		return 0, root, errors.New("a checkpoint has three lines")
	}
	if size, err = strconv.ParseUint(lines[1], 10, 64); err != nil {
		return 0, root, fmt.Errorf("checkpoint: %w", err)
	}
	hash, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || len(hash) != len(root) {
		return 0, root, fmt.Errorf("checkpoint: root %q", lines[2])
	}
	return size, schemas.Digest(hash), nil
}

// tileWidth is how many leaves a full bundle holds.
const tileWidth = 256

// leaves reads the log's first leaves from its bundles. No night has more than
// 65,536 of them.
func (p *publication) leaves(size uint64) (out []string, err error) {
	for n := uint64(0); n*tileWidth < size; n++ {
		key, width := fmt.Sprintf("tile/entries/%03d", n), min(size-n*tileWidth, tileWidth)
		if width < tileWidth {
			key += fmt.Sprintf(".p/%d", width)
		}
		b, ok := p.bucket.objects[key]
		if !ok {
			return nil, fmt.Errorf("%s is not there", key)
		}
		for len(b) >= 2 {
			length := int(binary.BigEndian.Uint16(b))
			if len(b) < 2+length {
				return nil, fmt.Errorf("%s ends within a leaf", key)
			}
			out = append(out, string(b[2:2+length]))
			b = b[2+length:]
		}
	}
	if uint64(len(out)) != size {
		return nil, fmt.Errorf("its bundles hold %d leaves, want %d", len(out), size)
	}
	return out, nil
}

// rootOf is the Merkle root of leaves, by RFC 6962 as it stands there.
func rootOf(leaves []string) tlog.Hash {
	switch len(leaves) {
	case 0:
		return tlog.Hash{}
	case 1:
		return tlog.RecordHash([]byte(leaves[0]))
	}
	half := 1
	for 2*half < len(leaves) {
		half *= 2
	}
	return tlog.NodeHash(rootOf(leaves[:half]), rootOf(leaves[half:]))
}

// checkLog holds that the log begins with the one of the snapshot before, that
// its leaves make the root that the snapshot names, that its entries are the
// ledger's records, and that the snapshot is the leaf behind them.
func (p *publication) checkLog(n *publicNote, note string) {
	leaves, err := p.leaves(n.log + 1)
	if err != nil {
		p.world.violate("the log of snapshot %d: %v", n.number, err)
		return
	}
	for i := range p.log {
		if i >= len(leaves) || p.log[i] != leaves[i] {
			p.world.violate("snapshot %d: leaf %d of the log is another than before", n.number, i)
			return
		}
	}
	p.log = leaves
	if schemas.Digest(rootOf(leaves[:n.log])) != n.root {
		p.world.violate("snapshot %d names another root than that of its %d leaves", n.number, n.log)
	}
	if !strings.Contains(leaves[n.log], note) {
		p.world.violate("snapshot %d is not the leaf behind its log", n.number)
	}
	p.roots[n.log+1] = schemas.Digest(rootOf(leaves))
}

// checkCheckpoint holds that a checkpoint is of the log behind a snapshot that
// was decided.
func (p *publication) checkCheckpoint(body []byte) {
	size, root, err := checkpointed(body)
	if err != nil {
		p.world.violate("%v", err)
		return
	}
	leaves, err := p.leaves(size)
	if err != nil {
		p.world.violate("the checkpoint of %d leaves: %v", size, err)
		return
	}
	if schemas.Digest(rootOf(leaves)) != root {
		p.world.violate("the checkpoint of %d leaves has another root than they", size)
	}
	if p.newest != nil && size == p.newest.log+1 && p.roots[size] != root {
		p.world.violate("two logs of %d leaves", size)
	}
}
