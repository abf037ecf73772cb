package service

import (
	"errors"
	"io/fs"
	"net"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"

	"tallystream/schemas"
)

// Services by what they need of the data directory.
const (
	ingestService  = "ingest"
	publishService = "publish"
	fanoutService  = "fanout"
)

// files are the data directory's: the election, and the service's key.
func (p *Preflight) files(name string, o Options) {
	data := Data{Dir: o.Data}
	definition, err := os.ReadFile(data.DefinitionPath())
	if err != nil {
		p.unread(data.DefinitionPath(), "put the election's definition there, or give --data", err)
	}
	e, err := schemas.OpenElection(definition)
	if definition != nil && err != nil {
		p.Wrong(data.DefinitionPath(), "put the definition there as it was signed off", "%v", err)
	}
	if name != fanoutService { // viewers need no roster
		p.roster(data, e)
	}
	if name == ingestService || name == publishService && o.Stores == Embedded {
		p.key(data, name)
	}
}

func (p *Preflight) roster(data Data, e *schemas.Election) {
	roster, err := os.ReadFile(data.RosterPath())
	if err != nil {
		p.unread(data.RosterPath(), "make one with \"tallystream keys roster\"", err)
		return
	}
	if e == nil {
		return
	}
	if _, err := schemas.OpenRoster(roster, e); err != nil {
		p.Wrong(data.RosterPath(), "make one for this election with \"tallystream keys roster\"", "%v", err)
	}
}

// key must be there, open, and be for its owner only.
func (p *Preflight) key(data Data, name string) {
	path := data.KeyPath(name)
	if p.World.Getenv(KeyVariable(name)) != "" {
		if _, _, err := schemas.OpenPrivateKey(p.World.Getenv(KeyVariable(name))); err != nil {
			p.Wrong(KeyVariable(name), "set it to what \"tallystream keys new\" wrote", "it is no private key")
		}
		return
	}
	info, err := os.Stat(path)
	if err != nil {
		p.unread(path, "make one with \"tallystream keys new\", or set "+KeyVariable(name), err)
		return
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		p.Wrong(path, "chmod 600 "+path, "others on this machine can read the private key (mode %04o)", mode)
	}
	if _, _, err := data.Signer(name); err != nil {
		p.Wrong(path, "make one with \"tallystream keys new\"", "it cannot be opened as a private key")
	}
}

// unread says why a file could not be read, without the words of the system.
func (p *Preflight) unread(path, advice string, err error) {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		p.Wrong(path, advice, "it does not exist")
	case errors.Is(err, fs.ErrPermission):
		p.Wrong(path, "let the user that runs here read it", "it may not be read")
	default:
		p.Wrong(path, advice, "%v", err)
	}
}

// addresses of the flags.
func (p *Preflight) addresses(o Options) {
	if o.Bus != "" { // fanout may be the bus itself
		for one := range strings.SplitSeq(o.Bus, ",") {
			p.bus(strings.TrimSpace(one))
		}
	}
	if o.Status != "" {
		if _, port, err := net.SplitHostPort(o.Status); err != nil || !validPort(port) {
			p.Wrong("--status", "give HOST:PORT, such as 127.0.0.1:9081", "%q is no address", o.Status)
		}
	}
	if o.Release.ReleasePointer != "" {
		if _, err := OpenPointer(o.Release.ReleasePointer, func() (S3Getter, error) { return nil, nil }); err != nil {
			p.Check("--release-pointer", err)
		}
	}
}

// bus is "nats://host:port" or "tls://...", perhaps with a secret, which is not shown.
func (p *Preflight) bus(text string) {
	const advice = "give nats://HOST:PORT, or tls://HOST:PORT"
	u, err := url.Parse(text)
	switch {
	case err != nil:
		p.Wrong("--bus", advice, "it is no URL")
	case u.Scheme != "nats" && u.Scheme != "tls":
		p.Wrong("--bus", advice, "%q is no kind of bus", u.Scheme)
	case u.Hostname() == "" || u.Port() != "" && !validPort(u.Port()):
		p.Wrong("--bus", advice, "%s names no host and port", u.Redacted())
	}
}

func validPort(s string) bool {
	n, err := strconv.Atoi(s)
	return err == nil && n >= 0 && n < 1<<16
}

// roleARN is the name of a role: arn:PARTITION:iam::ACCOUNT:role/PATH.
var roleARN = regexp.MustCompile(`^arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]{1,512}$`)

// environment are the variables of AWS that are read far from here and fail there.
func (p *Preflight) environment() {
	get := p.World.Getenv
	if arn := get("AWS_ROLE_ARN"); arn != "" && !roleARN.MatchString(arn) {
		p.Wrong("AWS_ROLE_ARN", "give arn:aws:iam::ACCOUNT:role/NAME with an account of 12 digits", "%q is not the ARN of a role", arn)
	}
	if path := get("AWS_WEB_IDENTITY_TOKEN_FILE"); path != "" {
		if _, err := os.Stat(path); err != nil {
			p.unread("AWS_WEB_IDENTITY_TOKEN_FILE="+path, "mount the token there, or take the variable away", err)
		}
	}
	if (get("AWS_ACCESS_KEY_ID") == "") != (get("AWS_SECRET_ACCESS_KEY") == "") {
		p.Wrong("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", "set both, or neither", "one is set and the other is missing")
	}
	for _, name := range []string{"", "_KINESIS", "_DYNAMODB", "_S3", "_KMS", "_STS"} {
		name = "AWS_ENDPOINT_URL" + name
		if text := get(name); text != "" {
			if u, err := url.Parse(text); err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
				p.Wrong(name, "give a URL such as https://kinesis.us-east-1.amazonaws.com", "%q is no URL", text)
			}
		}
	}
}
