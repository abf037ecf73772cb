package cloud_test

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tallystream/schemas"
	"tallystream/service/cloud"
)

var here = cloud.Site{Account: "123456789012", Region: "eu-central-1"}

func TestNamesSayWhatTheyAreFor(t *testing.T) {
	got, err := cloud.NamesOf("tallystream", "sc-2024-general", here, "")
	want := cloud.Names{
		Stream:  "tallystream-sc-2024-general-stream",
		Ledger:  "tallystream-sc-2024-general-ledger",
		Control: "tallystream-sc-2024-general-control",
		Bucket:  "tallystream-sc-2024-general-123456789012-eu-central-1",
		Key:     "alias/tallystream-sc-2024-general-publish",
	}
	if err != nil || got != want {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	got, err = cloud.NamesOf("tallystream", "sc-2024-general", cloud.Site{}, "results-of-sc")
	if want.Bucket = "results-of-sc"; err != nil || got != want {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
}

func TestNamesThatAWSWouldRefuseAreRefusedHere(t *testing.T) {
	for _, c := range []struct {
		prefix   string
		election schemas.ElectionID
		site     cloud.Site
		bucket   string
		want     string
	}{
		{"", "x", here, "", "--aws-prefix"},
		{"Tally", "x", here, "", "--aws-prefix"},
		{"tally-", "x", here, "", "--aws-prefix"},
		{"1tally", "x", here, "", "--aws-prefix"},
		{"a-prefix-of-21-letters", "x", here, "", "--aws-prefix"},
		{"tally", "No", here, "", "election"},
		{"tally", "x", cloud.Site{}, "", "account"},
		{"tally", "x", here, "Bucket", "--aws-bucket"},
		{"tally", "x", here, "my.bucket", "--aws-bucket"},
	} {
		if _, err := cloud.NamesOf(c.prefix, c.election, c.site, c.bucket); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q %q %q: %v, want %q in it", c.prefix, c.election, c.bucket, err, c.want)
		}
	}
}

// The rules of the services' API references.
var (
	streamRule = regexp.MustCompile(`^[a-zA-Z0-9_.-]{1,128}$`)
	tableRule  = regexp.MustCompile(`^[a-zA-Z0-9_.-]{3,255}$`)
	bucketRule = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$`)
	aliasRule  = regexp.MustCompile(`^alias/[a-zA-Z0-9/_-]{1,250}$`)
)

func TestEveryElectionHasValidNamesOfItsOwn(t *testing.T) {
	t.Parallel()
	election := rapid.StringMatching(`[a-z0-9][a-z0-9._-]{0,95}`)
	regions := rapid.SampledFrom([]string{"us-east-1", "ap-southeast-1", "us-gov-west-1", "us-isob-east-1"})
	rapid.Check(t, func(t *rapid.T) {
		prefix := rapid.StringMatching(`[a-z]([a-z0-9-]{0,18}[a-z0-9])?`).Draw(t, "prefix")
		site := cloud.Site{Account: "123456789012", Region: regions.Draw(t, "region")}
		one, other := election.Draw(t, "one"), election.Draw(t, "other")
		if rapid.Bool().Draw(t, "alike") {
			other = strings.NewReplacer(".", "-", "_", "-").Replace(one)
		}
		a, err := cloud.NamesOf(prefix, schemas.ElectionID(one), site, "")
		if err != nil {
			t.Fatal(err)
		}
		b, err := cloud.NamesOf(prefix, schemas.ElectionID(other), site, "")
		if err != nil {
			t.Fatal(err)
		}
		if !streamRule.MatchString(a.Stream) || !tableRule.MatchString(a.Ledger) || !tableRule.MatchString(a.Control) ||
			!bucketRule.MatchString(a.Bucket) || !aliasRule.MatchString(a.Key) {
			t.Errorf("%+v breaks a rule", a)
		}
		if one != other && (a.Stream == b.Stream || a.Ledger == b.Ledger || a.Bucket == b.Bucket || a.Key == b.Key) {
			t.Errorf("%q and %q share a name: %+v", one, other, a)
		}
	})
}

func TestOnlyTheControlTableForgets(t *testing.T) {
	n, err := cloud.NamesOf("tallystream", "x", here, "")
	if err != nil {
		t.Fatal(err)
	}
	plan := n.Plan(cloud.Size{Shards: 3, WarmWrites: 40_000}, here.Region)
	ledger, control := plan.Tables[0], plan.Tables[1]
	if ledger.Name != n.Ledger || ledger.TTLAttribute != "" || ledger.WarmWrites != 40_000 {
		t.Errorf("ledger %+v", ledger)
	}
	if control.Name != n.Control || control.TTLAttribute != cloud.ExpiryAttribute || control.WarmWrites != 0 {
		t.Errorf("control %+v", control)
	}
	if plan.Stream.Mode != "PROVISIONED" || plan.Stream.Shards != 3 || plan.Stream.RetentionHours != 168 {
		t.Errorf("stream %+v", plan.Stream)
	}
}
