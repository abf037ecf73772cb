package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
)

const templatePath = "packer/tallystream.pkr.hcl"

func readTemplate(t *testing.T) []byte {
	t.Helper()
	b, err := os.ReadFile(templatePath)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// template is a Packer template being checked.
type template struct {
	text   []byte
	body   *hclsyntax.Body
	wrongs []string
}

// checkTemplate says what is wrong with a template.
func checkTemplate(text []byte) []string {
	file, problems := hclsyntax.ParseConfig(text, templatePath, hcl.InitialPos)
	if problems.HasErrors() {
		return []string{problems.Error()}
	}
	c := &template{text: text, body: file.Body.(*hclsyntax.Body)}
	c.plugins()
	c.variables()
	c.sources()
	c.builds()
	return c.wrongs
}

func (c *template) wrong(format string, args ...any) {
	c.wrongs = append(c.wrongs, fmt.Sprintf(format, args...))
}

// blocks of a kind in a body.
func blocks(body *hclsyntax.Body, kind string) []*hclsyntax.Block {
	return slices.DeleteFunc(slices.Clone(body.Blocks), func(b *hclsyntax.Block) bool { return b.Type != kind })
}

// textOf is an attribute as it is written, or "".
func (c *template) textOf(body *hclsyntax.Body, name string) string {
	a, ok := body.Attributes[name]
	if !ok {
		return ""
	}
	r := a.Expr.Range()
	return string(c.text[r.Start.Byte:r.End.Byte])
}

func (c *template) plugins() {
	if packer := blocks(c.body, "packer"); len(packer) == 1 && c.textOf(packer[0].Body, "required_version") != "" {
		if required := blocks(packer[0].Body, "required_plugins"); len(required) == 1 {
			amazon := c.textOf(required[0].Body, "amazon")
			if strings.Contains(amazon, `"github.com/hashicorp/amazon"`) && regexp.MustCompile(`version += "~> \d`).MatchString(amazon) {
				return
			}
		}
	}
	c.wrong("the plugins and their versions are not pinned")
}

func (c *template) variables() {
	declared := map[string]bool{}
	for _, v := range blocks(c.body, "variable") {
		declared[v.Labels[0]] = true
		if c.textOf(v.Body, "type") == "" || len(c.textOf(v.Body, "description")) < 20 || len(blocks(v.Body, "validation")) == 0 {
			c.wrong("variable %s has no type, description or validation", v.Labels[0])
		}
	}
	used := map[string]bool{}
	_ = hclsyntax.VisitAll(c.body, func(n hclsyntax.Node) hcl.Diagnostics {
		if e, ok := n.(*hclsyntax.ScopeTraversalExpr); ok && len(e.Traversal) > 1 && e.Traversal.RootName() == "var" {
			used[e.Traversal[1].(hcl.TraverseAttr).Name] = true
		}
		return nil
	})
	for name := range used {
		if !declared[name] {
			c.wrong("var.%s is not declared", name)
		}
	}
	for name := range declared {
		if !c.usedOutside(name) {
			c.wrong("variable %s is not used", name)
		}
	}
}

// usedOutside says that a variable is used by more than its own validation.
func (c *template) usedOutside(name string) bool {
	found := false
	for _, b := range c.body.Blocks {
		if b.Type == "source" || b.Type == "build" {
			found = found || regexp.MustCompile(`var\.`+name+`\b`).Match(c.text[b.OpenBraceRange.Start.Byte:b.CloseBraceRange.End.Byte])
		}
	}
	return found
}

func (c *template) sources() {
	for _, s := range blocks(c.body, "source") {
		for name, want := range map[string]string{
			"encrypt_boot": "true", "kms_key_id": "var.kms_key_id", "imds_support": `"v2.0"`, "source_ami": "var.source_ami",
			"associate_public_ip_address": "false", "ssh_interface": `"session_manager"`,
		} {
			if got := c.textOf(s.Body, name); got != want {
				c.wrong("source %s: %s is %s, want %s", s.Labels[1], name, got, want)
			}
		}
		if options := blocks(s.Body, "metadata_options"); len(options) != 1 || c.textOf(options[0].Body, "http_tokens") != `"required"` {
			c.wrong("source %s: the building machine's metadata need no token", s.Labels[1])
		}
		if !strings.Contains(c.textOf(s.Body, "ami_name"), "${var.release}") {
			c.wrong("source %s: the image's name does not tell its release", s.Labels[1])
		}
	}
}

func (c *template) builds() {
	builds := blocks(c.body, "build")
	if len(builds) != 1 || len(blocks(c.body, "source")) != 1 {
		c.wrong("%d builds of %d sources, want one", len(builds), len(blocks(c.body, "source")))
		return
	}
	s := blocks(c.body, "source")[0]
	if got := c.textOf(builds[0].Body, "sources"); got != `["source.`+strings.Join(s.Labels, ".")+`"]` {
		c.wrong("it builds %s", got)
	}
	var script string
	for _, p := range blocks(builds[0].Body, "provisioner") {
		script += c.textOf(p.Body, "inline")
		if from := c.textOf(p.Body, "source"); strings.Contains(from, "path.root") {
			at := filepath.Join(filepath.Dir(templatePath), strings.Trim(strings.ReplaceAll(from, "${path.root}", "."), `"`))
			if _, err := os.Stat(at); err != nil {
				c.wrong("it copies %s: %v", from, err)
			}
		}
	}
	check, install := strings.Index(script, "sha256sum --check"), strings.Index(script, "/usr/local/bin/tallystream")
	if check < 0 || install < check {
		c.wrong("the program is installed before its digest is checked")
	}
	for _, name := range unitNames {
		if !strings.Contains(script, "tallystream-"+name+".service") {
			c.wrong("%s is not enabled", name)
		}
	}
	for _, left := range []string{"ssh_host_", "authorized_keys", "machine-id"} {
		if !strings.Contains(script, left) {
			c.wrong("%s stays in the image", left)
		}
	}
}

func TestTheMachineImageIsPinnedEncryptedAndEmptyOfKeys(t *testing.T) {
	text := readTemplate(t)
	for _, w := range checkTemplate(text) {
		t.Error(w)
	}
	if formatted := hclwrite.Format(text); !bytes.Equal(formatted, text) {
		t.Error("the template is not formatted as packer fmt does")
	}
}

func TestEachCheckOfTheTemplateFindsWhatItIsFor(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{`version = "~> 1.3"`, `version = ">= 0"`, "not pinned"},
		{"variable \"release\" {\n  type        = string", "variable \"release\" {", "variable release has no type"},
		{`description = "Region of AWS in which the image is made."`, ``, "variable region has no type"},
		{`region                      = var.region`, `region                      = "us-east-1"`, "variable region is not used"},
		{`ssh_username                = var.ssh_username`, `ssh_username                = var.user`, "var.user is not declared"},
		{`encrypt_boot    = true`, `encrypt_boot    = false`, "encrypt_boot is false"},
		{`http_tokens                 = "required"`, `http_tokens                 = "optional"`, "need no token"},
		{`source_ami                  = var.source_ami`, `source_ami                  = "ami-0"`, "source_ami is"},
		{`associate_public_ip_address = false`, `associate_public_ip_address = true`, "associate_public_ip_address"},
		{`tallystream-${var.release}-arm64`, `tallystream-arm64`, "does not tell its release"},
		{`source.amazon-ebs.machine`, `source.amazon-ebs.other`, "it builds"},
		{`${path.root}/../systemd`, `${path.root}/../units`, "it copies"},
		{`| sha256sum --check --strict`, ``, "before its digest is checked"},
		{` tallystream-publish.service`, ``, "publish is not enabled"},
		{`/etc/ssh/ssh_host_*`, ``, "ssh_host_ stays"},
		{`build {`, `build`, "definition required"},
	} {
		text := readTemplate(t)
		if !bytes.Contains(text, []byte(c.old)) {
			t.Errorf("%q is not in the template", c.old)
			continue
		}
		wrongs := checkTemplate(bytes.Replace(text, []byte(c.old), []byte(c.new), 1))
		if !slices.ContainsFunc(wrongs, func(w string) bool { return strings.Contains(w, c.want) }) {
			t.Errorf("with %q for %q it found %q, want %q", c.new, c.old, wrongs, c.want)
		}
	}
}

func TestPackerItselfAcceptsTheTemplate(t *testing.T) {
	tool, err := exec.LookPath("packer")
	if err != nil {
		t.Skip("packer is not on this machine; the template was parsed and checked by the tests beside")
	}
	out, err := exec.CommandContext(t.Context(), tool, "validate", "-syntax-only", templatePath).CombinedOutput()
	if err != nil {
		t.Errorf("packer validate: %v\n%s", err, out)
	}
}
