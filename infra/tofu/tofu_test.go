package tofu_test

import (
	"bytes"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tallystream/infra/check"
	"tallystream/infra/tofu"
)

var update = flag.Bool("update", false, "cut the provider's schema again")

const (
	cutPath = "testdata/provider-schema.json.gz"
	// wholePath is the provider's schema as published, beside the repository.
	wholePath = "../../../shared/data/aws-provider-schema/schema.json.gz"
)

// described are the types in use whose argument `description` the published schema
// has lost (see check.Schema.Describe), as the provider 6.47 documents them.
var described = []string{
	"aws_iam_role", "aws_kms_key", "aws_kms_replica_key", "aws_secretsmanager_secret", "aws_security_group",
	"aws_vpc_security_group_egress_rule", "aws_vpc_security_group_ingress_rule", "aws_wafv2_ip_set", "aws_wafv2_web_acl",
}

func readSchema(t *testing.T, path string) *check.Schema {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s, err := check.ReadSchema(f)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func load(t *testing.T, tree fs.FS) map[string]*check.Module {
	t.Helper()
	modules, err := check.LoadAll(tree, tofu.Example)
	if err != nil {
		t.Fatal(err)
	}
	return modules
}

func report(t *testing.T, found []check.Finding) {
	t.Helper()
	for _, f := range found {
		t.Error(f)
	}
}

// The committed cut is what the published schema says of the types in use.
// `go test ./infra/tofu -run Cut -update` makes it again.
func TestTheSchemaIsACutOfTheProvidersOwn(t *testing.T) {
	if _, err := os.Stat(wholePath); err != nil {
		t.Skipf("the provider's schema is not beside the repository: %v", err)
	}
	cut, err := readSchema(t, wholePath).Cut(load(t, tofu.Files))
	if err != nil {
		t.Fatal(err)
	}
	if err := cut.Describe(described...); err != nil {
		t.Fatal(err)
	}
	var want bytes.Buffer
	if err := cut.Write(&want); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(cutPath, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(cutPath)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		old := readSchema(t, cutPath).Types()
		t.Errorf("%s is not what the provider's schema gives for the modules (go test ./infra/tofu -run Cut -update); types: committed %v, now %v", cutPath, old, cut.Types())
	}
}

func TestEveryBlockAndArgumentIsOneTheProviderHas(t *testing.T) {
	schema := readSchema(t, cutPath)
	modules := load(t, tofu.Files)
	blocks := 0
	for _, dir := range check.Dirs(modules) {
		report(t, check.Arguments(modules[dir], schema))
		blocks += len(modules[dir].Of("resource", "")) + len(modules[dir].Of("data", ""))
	}
	t.Logf("%d resources and data sources in %d modules", blocks, len(modules))
}

func TestEveryReferenceNamesSomethingAndEverythingIsUsed(t *testing.T) {
	report(t, check.References(load(t, tofu.Files), readSchema(t, cutPath)))
}

func TestVariablesAreTypedDescribedAndValidated(t *testing.T) {
	modules := load(t, tofu.Files)
	for _, dir := range check.Dirs(modules) {
		report(t, check.Tidy(modules[dir]))
	}
}

func TestEveryFileIsReachedFromTheExample(t *testing.T) {
	reached := load(t, tofu.Files)
	err := fs.WalkDir(tofu.Files, ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".tf") && reached[filepath.ToSlash(filepath.Dir(path))] == nil {
			t.Errorf("%s is in no module that the example calls, and was not checked", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	regions := 0
	for _, call := range reached[tofu.Example].Of("module", "") {
		if reached[tofu.Example].Called(call) == tofu.Region {
			regions++
		}
	}
	if regions < 2 {
		t.Errorf("the example has %d regions, want two or more", regions)
	}
}

func TestTheDeploymentKeepsEveryPolicy(t *testing.T) {
	d := tofu.Deployment{Modules: load(t, tofu.Files), Schema: readSchema(t, cutPath)}
	for _, p := range tofu.Policies {
		t.Run(p.Name, func(t *testing.T) { report(t, p.Check(d)) })
	}
}

func ExamplePolicies() {
	names := []string{}
	for _, p := range tofu.Policies {
		names = append(names, p.Name)
	}
	fmt.Println(len(names), slices.Contains(names, "one-writer"))
	// Output: 18 true
}
