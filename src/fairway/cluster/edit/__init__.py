"""What an edit of a cluster's objects would do, before it is made: to objects, to rules, to connections that live."""
