-- What every script of the bank begins with. Order is told by bytes: Lua's own < goes by the server's locale.
local prefix = ARGV[1]
local function before(one, other)
    for i = 1, math.min(#one, #other) do
        local a, b = string.byte(one, i), string.byte(other, i)
        if a ~= b then return a < b end
    end
    return #one < #other
end
local function order_of(uploaded, name) return string.format('%016.0f/', tonumber(uploaded)) .. name end
-- Among the photos of one hash: blocked copies come after all others, so that no number of them hides an original.
local function place_of(uploaded, name, blocked)
    return (blocked == '1' and 'copy/' or '') .. order_of(uploaded, name)
end
local function raw(hash) return (string.gsub(hash, '..', function(byte) return string.char(tonumber(byte, 16)) end)) end
local hashes = prefix .. 'hashes'
local function held_in(band, bytes)
    local field = string.char(band) .. string.sub(bytes, band * 2 + 1, band * 2 + 2)
    return field, redis.call('HGET', hashes, field) or ''
end
local function without(held, one)
    local kept = {}
    for at = 1, #held, 32 do
        local other = string.sub(held, at, at + 31)
        if other ~= one then kept[#kept + 1] = other end
    end
    return table.concat(kept)
end
local function out_of_the_bands(hash)
    local bytes = raw(hash)
    for band = 0, 15 do
        local field, held = held_in(band, bytes)
        local left = without(held, bytes)
        if left ~= '' then redis.call('HSET', hashes, field, left)
        elseif held ~= '' then redis.call('HDEL', hashes, field) end
    end
    if redis.call('HLEN', hashes) == 1 then redis.call('DEL', hashes) end
end
local function leave(hash, place)
    redis.call('ZREM', prefix .. 'in-order:' .. hash, place)
    if redis.call('EXISTS', prefix .. 'in-order:' .. hash) == 1 then return end
    if redis.call('SREM', prefix .. 'left-out', hash) == 0 then out_of_the_bands(hash) end
end
-- That of the whole photo, and that of it without its margins, if they differ. Entries of old have the first only.
local function hashes_of(hash, trimmed)
    if trimmed and trimmed ~= '' then return {hash, trimmed} end
    return {hash}
end
local function move(hash, old, new)
    if old == new then return end
    redis.call('ZADD', prefix .. 'in-order:' .. hash, 0, new)
    redis.call('ZREM', prefix .. 'in-order:' .. hash, old)
end
local function drop(name)
    local photo = redis.call('HMGET', prefix .. 'photo:' .. name, 'hash', 'uploaded', 'trimmed', 'blocked')
    redis.call('DEL', prefix .. 'photo:' .. name, prefix .. 'matches:' .. name)
    if not photo[1] then return end
    for _, hash in ipairs(hashes_of(photo[1], photo[3])) do leave(hash, place_of(photo[2], name, photo[4])) end
end
