//! The one way in which this binary declares settings: a struct whose every field is a flag, an environment variable,
//! a key of `selvedge.toml` and a default, from one line.

/// Declares a struct of settings: `/// doc` `field: Type = default, "SELVEDGE_FIELD";`. The flag and the key in the file
/// are the field's name with dashes.
macro_rules! settings {
    ($(#[$attribute:meta])* pub struct $name:ident {
        $($(#[$field_attribute:meta])* $field:ident: $type:ty = $default:expr, $env:literal;)*
    }) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, PartialEq, clap::Args)]
        pub struct $name {
            $($(#[$field_attribute])* #[arg(long, env = $env, default_value_t = $default)] pub $field: $type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                $name { $($field: $default,)* }
            }
        }
    };
}

pub(crate) use settings;
