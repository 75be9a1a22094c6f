"""Tables and files of grouped data, checked and audited."""
