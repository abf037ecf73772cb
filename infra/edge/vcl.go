package edge

import (
	"fmt"
	"net/netip"
	"strings"
)

// VCL is rules.vcl of varnish/edge.vcl for these rules, which must be checked
// (Check). Varnish compiles it in a moment and drops no connection over it.
func (p Pairs) VCL() string {
	var b strings.Builder
	b.WriteString("# Made of a file of rules: go run ./infra/edge/rules vcl rules.json > rules.vcl\n\n")
	p.writeACL(&b, "hops", strings.Fields(p[hopsKey]))
	p.writeACL(&b, "refused", p.banned(BanRefuse))
	p.writeACL(&b, "decoyed", p.banned(BanDecoy))
	b.WriteString("sub rules_verdict {\n")
	for _, role := range []struct{ host, key string }{{"results", geoKey}, {"ingest", geoIngestKey}} {
		if value := p[role.key]; value != "" {
			fmt.Fprintf(&b, "    if (req.http.X-Edge-Role == %q && %s) {\n        set req.http.X-Edge-Verdict = \"closed\";\n        return;\n    }\n",
				role.host, closing(value))
		}
	}
	b.WriteString(`    if (client.ip !~ hops) {
        if (client.ip ~ refused) {
            set req.http.X-Edge-Verdict = "refused";
            return;
        }
        if (client.ip ~ decoyed) {
            set req.http.X-Edge-Verdict = "decoy";
        }
    }
`)
	for _, list := range []struct{ key, verdict string }{{agentsKey, "refused"}, {decoysKey, "decoy"}} {
		if value := p[list.key]; value != "" {
			fmt.Fprintf(&b, "    if (req.http.X-Edge-Agent ~ \"(?i)(%s)\") {\n        set req.http.X-Edge-Verdict = %q;\n        return;\n    }\n",
				literal(value), list.verdict)
		}
	}
	b.WriteString("}\n")
	return b.String()
}

func (p Pairs) banned(how string) (blocks []string) {
	for _, key := range p.keys() {
		if block, ok := strings.CutPrefix(key, banPrefix); ok && p[key] == how {
			blocks = append(blocks, block)
		}
	}
	return blocks
}

func (Pairs) writeACL(b *strings.Builder, name string, blocks []string) {
	fmt.Fprintf(b, "acl %s {\n", name)
	for _, block := range blocks {
		if prefix, err := netip.ParsePrefix(block); err == nil {
			fmt.Fprintf(b, "    \"%s\"/%d;\n", prefix.Addr(), prefix.Bits())
		} else {
			fmt.Fprintf(b, "    \"%s\";\n", block)
		}
	}
	b.WriteString("}\n\n")
}

// closing is the condition under which a country is closed. One that is not
// known is in no list.
func closing(value string) string {
	if open, ok := strings.CutPrefix(value, "! "); ok {
		return fmt.Sprintf("req.http.X-Viewer-Country !~ \"^(%s)$\"", strings.ReplaceAll(open, " ", "|"))
	}
	return fmt.Sprintf("req.http.X-Viewer-Country ~ \"^(%s)$\"", strings.ReplaceAll(value, " ", "|"))
}

// literal makes a pattern of a checked list that matches its parts and nothing
// else. Between quotation marks VCL takes a backslash as it is.
func literal(list string) string {
	return strings.NewReplacer(".", `\.`, "(", `\(`, ")", `\)`, "+", `\+`).Replace(list)
}
