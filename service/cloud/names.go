package cloud

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"tallystream/schemas"
)

// Names of everything that an election has on AWS.
type Names struct {
	Stream  string `json:"stream"`  // submissions on their way in
	Ledger  string `json:"ledger"`  // table: entries, units, tallies, heads
	Control string `json:"control"` // table: leases, publication head
	Bucket  string `json:"bucket"`  // what is published
	Key     string `json:"key"`     // alias of the publisher's signing key
}

// Limits of names. A bucket's is the tightest: 63 bytes, and account (12) and
// region (up to 16) are in it.
const (
	maxPrefix = 20
	maxBucket = 63
)

// Site is where buckets, whose names are global, belong to.
type Site struct{ Account, Region string }

// NamesOf makes the names of an election. bucket replaces the bucket's name
// if it is not empty; else site must be known.
//
// Dots and underscores of an election's identifier are in no bucket's or
// alias's name, and long ones do not fit. Such an identifier is cut and its
// digest added, so that two elections never share a name.
func NamesOf(prefix string, election schemas.ElectionID, site Site, bucket string) (Names, error) {
	if !validPrefix(prefix) {
		return Names{}, fmt.Errorf("--aws-prefix %q: want 1 to %d of a-z, 0-9 and '-', starting with a letter and not ending in '-'", prefix, maxPrefix)
	}
	if _, err := schemas.ParseElectionID(string(election)); err != nil {
		return Names{}, err
	}
	base := prefix + "-" + slug(string(election), 64)
	if bucket == "" {
		if site.Account == "" || site.Region == "" {
			return Names{}, fmt.Errorf("naming the bucket: account %q and region %q must be known", site.Account, site.Region)
		}
		suffix := "-" + site.Account + "-" + site.Region
		bucket = prefix + "-" + slug(string(election), maxBucket-len(prefix)-1-len(suffix)) + suffix
	}
	if !validBucket(bucket) {
		return Names{}, fmt.Errorf("--aws-bucket %q: want 3 to %d of a-z, 0-9 and '-', starting and ending with a letter or digit", bucket, maxBucket)
	}
	return Names{
		Stream: base + "-stream", Ledger: base + "-ledger", Control: base + "-control",
		Bucket: bucket, Key: "alias/" + base + "-publish",
	}, nil
}

// Names makes the names of an election, and asks for the account if the
// bucket's name needs it.
func (c *Clients) Names(ctx context.Context, o Options, election schemas.ElectionID) (Names, error) {
	site := Site{Region: c.Region}
	if o.Bucket == "" {
		var err error
		if site.Account, err = c.Account(ctx); err != nil {
			return Names{}, fmt.Errorf("naming the bucket: %w (or give --aws-bucket)", err)
		}
	}
	return NamesOf(o.Prefix, election, site, o.Bucket)
}

// slug is the identifier itself if it is short and plain, else a part of it
// and 10 digits of its digest.
func slug(s string, most int) string {
	plain := strings.Map(func(r rune) rune {
		if r == '.' || r == '_' {
			return '-'
		}
		return r
	}, s)
	if plain == s && len(s) <= most && !strings.HasSuffix(s, "-") {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	digest := hex.EncodeToString(sum[:5])
	return strings.TrimRight(plain[:min(len(plain), max(most-len(digest)-1, 0))], "-") + "-" + digest
}

func validPrefix(s string) bool {
	return len(s) <= maxPrefix && validLabel(s) && s[0] >= 'a'
}

func validBucket(s string) bool {
	return len(s) >= 3 && len(s) <= maxBucket && validLabel(s)
}

// validLabel says that s is letters, digits and hyphens, with no hyphen at
// either end.
func validLabel(s string) bool {
	if s == "" || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}
