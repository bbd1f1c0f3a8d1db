package template

import (
	"regexp"
	_ "time/tzdata" // the same zones everywhere, also in an image without zone files
)

func dateFunctions(library map[string]any) map[string]function {
	inZone, _ := library["dateInZone"].(func(string, any, string) string)
	html, _ := library["htmlDateInZone"].(func(any, string) string)
	const duration, date = "the input is not a duration", "the input is not a date of this layout"
	return merged(
		checked(library, "mustDateModify must_date_modify", function{why: duration}),
		checked(library, "mustToDate", function{why: date}),
		map[string]function{
			"dateInZone":     {fn: func(layout string, t any, zone string) string { return inZone(layout, t, knownZone(zone)) }},
			"date_in_zone":   {fn: func(layout string, t any, zone string) string { return inZone(layout, t, knownZone(zone)) }},
			"htmlDateInZone": {fn: func(t any, zone string) string { return html(t, knownZone(zone)) }},
		},
	)
}

// knownZone returns the zone when it is written like one, else UTC: a zone is
// looked up as a file, and no other file must be.
func knownZone(zone string) string {
	if regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_+-]{0,30}(/[A-Za-z0-9_+-]{1,30}){0,2}$`).MatchString(zone) {
		return zone
	}
	return "UTC"
}
