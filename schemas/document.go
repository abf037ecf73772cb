package schemas

import (
	"fmt"
	"strings"
)

// DocumentID names a live document: "election", "contest/<id>" or
// "county/<id>".
type DocumentID string

// ElectionDocument holds the totals of contests that every county of their
// state votes on, by election and by state: what a front page shows.
const ElectionDocument DocumentID = "election"

// ContestDocument holds a contest's lines: one a county, one a state where the
// election has several, and the total, whose unit is the election.
func ContestDocument(c ContestID) DocumentID { return DocumentID("contest/" + c) }

// CountyDocument holds a county's lines, one a contest.
func CountyDocument(c CountyID) DocumentID { return DocumentID("county/" + c) }

// ParseDocumentID checks the form of s, not whether such a document exists.
func ParseDocumentID(s string) (DocumentID, error) {
	if DocumentID(s) == ElectionDocument {
		return ElectionDocument, nil
	}
	kind, id, _ := strings.Cut(s, "/")
	if (kind == "contest" || kind == "county") && ValidIdentifier(id) {
		return DocumentID(s), nil
	}
	return "", fmt.Errorf("document %q: want election, contest/<id> or county/<id>", clip(s))
}

// Contest returns the contest whose document d is.
func (d DocumentID) Contest() (ContestID, bool) {
	id, ok := strings.CutPrefix(string(d), "contest/")
	return ContestID(id), ok
}

// County returns the county whose document d is.
func (d DocumentID) County() (CountyID, bool) {
	id, ok := strings.CutPrefix(string(d), "county/")
	return CountyID(id), ok
}
