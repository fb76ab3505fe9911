package main

import "strings"

// plainCell keeps a spreadsheet from taking a cell for a formula (OWASP, "CSV Injection"): it puts an apostrophe before what
// begins like one.
func plainCell(cell string) string {
	if cell != "" && strings.ContainsRune("=+-@\t\r\n", rune(cell[0])) {
		return "'" + cell
	}
	return cell
}
