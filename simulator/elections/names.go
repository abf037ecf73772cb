package elections

import "strings"

// Given and family names of invented candidates.
var (
	givenNames = strings.Fields(`Aaron Alice Amara Andre Angela Anita Arthur Beatriz Benjamin Bridget Caleb Camila Carla Cecil
Charlotte Clara Daniel Daphne Darnell Deborah Diego Dolores Edwin Elena Elijah Esther Felix Fiona Frances Gabriel Gloria Grant
Hannah Harold Hector Ingrid Irene Isaac Jamal Janet Javier Joanna Joseph Julia Karen Keiko Kevin Laura Leon Linh Louis Lucia
Marcus Maria Martin Mei Miriam Nadia Naomi Nathan Nina Oscar Patricia Paul Priya Quentin Rachel Rafael Rebecca Rosa Samuel
Sandra Sofia Stephen Tamara Teresa Tobias Valerie Victor Walter Wendy Xavier Yolanda Yusuf Zoe`)
	familyNames = strings.Fields(`Abbott Alvarez Ames Anderson Arroyo Ashby Baptiste Barlow Becker Bennett Bishop Blake Bowen
Briggs Bryant Calloway Cardenas Castillo Chandler Chang Chavez Coleman Conrad Cordova Crane Cruz Dalton Delgado Desai Dixon
Donovan Doyle Drake Duarte Eaton Ellison Emerson Espinoza Farrell Figueroa Fleming Fletcher Foster Fuentes Gallagher Garza
Gibbs Goodwin Gupta Guzman Hale Harmon Hayes Herrera Hoang Holloway Hooper Ibarra Ingram Jacobs Jensen Joyner Kaplan Keller
Kendrick Khan Kim Kirby Lambert Larsen Lindqvist Lockhart Lowell Lozano Maddox Maldonado Marsh Mendez Mercado Meyer Monroe
Moreno Nakamura Navarro Newell Noble Norwood Obrien Ochoa Okafor Olsen Ortega Osborne Pacheco Park Patel Pennington Perkins
Pham Pollard Powell Prescott Quinn Ramsey Reyes Rhodes Rivera Rowe Salazar Sandoval Schultz Serrano Shaw Sinclair Singh
Solomon Stanton Strickland Summers Tanaka Tate Thornton Tran Underwood Valdez Vance Vargas Vaughn Vega Walsh Watkins Weaver
Whitaker Whitfield Wilder Winslow Wong Yates Yoder York Zamora Zhang Zimmerman`)
)

// person is an invented candidate.
type person struct{ given, family string }

// people draws n persons with distinct family names.
func people(d *Draw, n int) []person {
	out := make([]person, 0, n)
	for len(out) < n {
		p := person{givenNames[d.Below(len(givenNames))], familyNames[d.Below(len(familyNames))]}
		taken := false
		for _, q := range out {
			taken = taken || q.family == p.family
		}
		if !taken {
			out = append(out, p)
		}
	}
	return out
}
